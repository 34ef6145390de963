//! `GET /ws`: from a request to a session, or to the reason why not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout};

use super::Service;
use super::accept::Peer;
use super::admission::Place;
use super::guest::{self, Guest};
use super::handshake::Handshake;
use super::origin;
use super::refusal::retry_after;
use crate::auth::{self, Identity, TokenError};
use crate::backplane::BackplaneError;
use crate::drain::Phase;
use crate::hub::{Connection, UserLimit};
use crate::metrics::TokenResult;
use crate::protocol::{CorrelationId, ErrorCode, ServiceError};
use crate::session::expiry;
use crate::telemetry::events;

/// How long an upgrade waits for its user's channel to be confirmed. A healthy Redis takes a millisecond; a client
/// waits this long for an answer without giving up.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(5);

/// Answers an upgrade. Everything that can refuse it is asked in the order of what it costs.
pub(super) async fn connect(
    State(service): State<Arc<Service>>,
    Extension(correlation_id): Extension<CorrelationId>,
    Extension(Peer(address)): Extension<Peer>,
    mut request: Request,
) -> Result<Response, ServiceError> {
    let upgrade = hyper::upgrade::on(&mut request);
    let handshake = Handshake::of(request.method(), request.headers())?;
    let place =
        enter(&service, &request, address).inspect_err(|_| events::connection_rejected(&service.metrics))?;

    let presented = auth::from_request(request.uri().query(), request.headers());
    let verified = presented.token.and_then(|token| service.verifier.verify(token.expose()));
    service.metrics.jwt_validation.of(token_result(&verified)).inc();
    let admitted = match verified {
        Ok(identity) => admit(&service, identity, address, correlation_id, place).await,
        Err(error) => Err(Refused::Tell(error.into(), place)),
    };
    match admitted {
        Ok(guest) => {
            tokio::spawn(guest::host(Arc::clone(&service), upgrade, guest));
            Ok(handshake.switch(presented.subprotocol))
        }
        Err(refused) => {
            events::connection_rejected(&service.metrics);
            match refused {
                Refused::Tell(error, place) if !service.config.server.reject_with_http => {
                    events::failed(&error, correlation_id);
                    tell(&service, upgrade, &error, correlation_id, place);
                    Ok(handshake.switch(presented.subprotocol))
                }
                Refused::Tell(error, _) | Refused::Answer(error) => Err(error),
            }
        }
    }
}

/// How a request with a good handshake is refused.
enum Refused {
    /// By a close frame, so that a browser can see why; or by its HTTP status where `REJECT_WITH` is `http`.
    Tell(ServiceError, Place),
    /// By its HTTP status, always.
    Answer(ServiceError),
}

/// Origin, drain and room: what is refused before the token is looked at.
fn enter(service: &Service, request: &Request, address: std::net::IpAddr) -> Result<Place, ServiceError> {
    let config = &service.config;
    origin::check(&config.server.allowed_origins, config.environment, request.headers())?;
    open_for_upgrades(service)?;
    service.admission.enter(address)
}

/// Waits until the user's channel is subscribed, then registers the connection, before its 101: what is published from
/// that on is not missed. In this order, for an upgrade that fails for want of Redis must not evict anybody.
async fn admit(
    service: &Arc<Service>,
    identity: Identity,
    address: std::net::IpAddr,
    correlation_id: CorrelationId,
    place: Place,
) -> Result<Guest, Refused> {
    let subscription = match timeout(SUBSCRIBE_WAIT, service.backplane.subscribe(identity.user.clone())).await
    {
        Ok(subscribed) => subscribed,
        Err(_) => Err(BackplaneError::Timeout),
    };
    let subscription = subscription.map_err(|error| {
        let refusal =
            unavailable("subscribe", "The backplane does not answer").with_detail("reason", error.label());
        Refused::Answer(refusal)
    })?;
    // The wait may have outlasted the lame duck.
    open_for_upgrades(service).map_err(Refused::Answer)?;
    let limits = &service.config.limits;
    let limit = UserLimit { connections: limits.per_user, policy: limits.per_user_policy };
    let expires_at = expires_at(service, &identity);
    match service.hub.register(identity.user, Connection::new(address), limit) {
        Ok(registration) => Ok(Guest { registration, subscription, place, expires_at, correlation_id }),
        Err(error) => {
            let refusal = ServiceError::new(ErrorCode::QuotaExceeded, "connect", "Too many connections")
                .with_detail("limit", error.limit);
            Err(Refused::Tell(refusal, place))
        }
    }
}

/// Refuses upgrades once the drain closes connections.
fn open_for_upgrades(service: &Service) -> Result<(), ServiceError> {
    if service.drain.phase() >= Phase::Closing {
        return Err(unavailable("connect", "Server is draining"));
    }
    Ok(())
}

fn unavailable(operation: &'static str, message: &'static str) -> ServiceError {
    ServiceError::new(ErrorCode::ServiceUnavailable, operation, message).with_retry_after(retry_after(1, 10))
}

/// The end of the token on tokio's clock, with the leeway that its verification had too.
fn expires_at(service: &Service, identity: &Identity) -> Instant {
    let remaining = identity.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
    expiry(remaining + service.config.auth.leeway, Instant::now())
}

/// Upgrades only to close with the reason. Holds its place meanwhile, so strangers cannot pile up here.
fn tell(
    service: &Arc<Service>,
    upgrade: OnUpgrade,
    error: &ServiceError,
    correlation_id: CorrelationId,
    place: Place,
) {
    let close = error.to_close();
    let max_message_bytes = service.config.session.max_message_bytes;
    tokio::spawn(async move {
        if let Some(mut socket) = guest::open(upgrade, max_message_bytes).await {
            crate::session::close(&mut socket, &close, correlation_id, None).await;
        }
        drop(place);
    });
}

fn token_result(verified: &Result<Identity, TokenError>) -> TokenResult {
    match verified {
        Ok(_) => TokenResult::Success,
        Err(TokenError::Expired) => TokenResult::Expired,
        Err(_) => TokenResult::Invalid,
    }
}
