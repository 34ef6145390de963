//! `GET /ws`: from a request to a session, or to the reason why not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::Service;
use super::admission::Place;
use super::client_address;
use super::guest::{self, Guest};
use super::handshake::Handshake;
use super::origin;
use super::refusal::retry_after;
use super::{presence, v1};
use crate::auth::{self, Identity, TokenError};
use crate::backplane;
use crate::backplane::{BackplaneError, Disconnect, EnterError, Presence, Why};
use crate::drain::Phase;
use crate::hub::{Connection, Registration, UserLimit};
use crate::metrics::TokenResult;
use crate::protocol::frame::V1_PROTOCOL;
use crate::protocol::{CorrelationId, ErrorCode, Mode, ServiceError};
use crate::session::{Outbox, expiry};
use crate::telemetry::events;
use crate::trace::{self, Side, Span};

/// How long an upgrade waits for its user's channels to be confirmed and for its history. A healthy Redis takes a millisecond; a client
/// waits this long for an answer without giving up.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(5);

/// How long an upgrade waits for the fleet's count of its user's connections.
const ENTER_WAIT: Duration = Duration::from_secs(2);

/// Answers an upgrade. Everything that can refuse it is asked in the order of what it costs.
pub(super) async fn connect(
    service: Arc<Service>,
    correlation_id: CorrelationId,
    address: IpAddr,
    mut request: Request<Incoming>,
    span: &Span,
) -> Result<Response, ServiceError> {
    let began = Instant::now();
    let upgrade = hyper::upgrade::on(&mut request);
    let handshake = Handshake::of(request.method(), request.headers())?;
    let address = client_address::of(address, request.headers(), &service.config.server.trusted_proxies);
    let place =
        room(&service, &request, address).inspect_err(|_| events::connection_rejected(&service.metrics))?;

    let presented = auth::from_request(request.uri().query(), request.headers());
    let verified = {
        let span = trace::child("websocket.validate_token", Side::Internal);
        let verified = match presented.token {
            Ok(token) => service.verifier.verify_fresh(token.expose()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &verified {
            span.failed(&error.to_string());
        }
        verified
    };
    service.metrics.jwt_validation.of(token_result(&verified)).inc();
    let admitted = match verified {
        Ok(identity) => {
            let talk = match presented.subprotocol {
                Some(V1_PROTOCOL) => {
                    Talk::V1 { last_event_id: v1::last_event_id(request.uri().query(), request.headers()) }
                }
                _ => Talk::Plain,
            };
            let client = presence::client(request.headers());
            admit(&service, identity, Visit { address, client, correlation_id, place, talk, span }).await
        }
        Err(error) => {
            // One that nobody could look at says nothing of who shows it.
            if error != TokenError::NoKeys {
                service.admission.refused_token(address);
            }
            Err(Refused::Tell(untaken(error), place))
        }
    };
    match admitted {
        Ok(guest) => {
            service.metrics.handshake_duration.observe(began.elapsed().as_secs_f64());
            tokio::spawn(guest::host(Arc::clone(&service), upgrade, guest));
            Ok(handshake.switch(presented.subprotocol))
        }
        Err(refused) => {
            events::connection_rejected(&service.metrics);
            match refused {
                Refused::Tell(error, place) if !service.config.server.reject_with_http => {
                    let error = trace::recorded(error, correlation_id);
                    events::failed(&error, correlation_id);
                    tell(&service, upgrade, &error, correlation_id, place);
                    Ok(handshake.switch(presented.subprotocol))
                }
                Refused::Tell(error, _) | Refused::Answer(error) => Err(error),
            }
        }
    }
}

/// What an upgrade brings, besides its token.
struct Visit<'a> {
    address: IpAddr,
    /// What it calls itself.
    client: Option<String>,
    correlation_id: CorrelationId,
    place: Place,
    talk: Talk,
    span: &'a Span,
}

/// Which way of talking the client chose.
enum Talk {
    Plain,
    V1 { last_event_id: Option<String> },
}

/// How a request with a good handshake is refused.
enum Refused {
    /// By a close frame, so that a browser can see why; or by its HTTP status where `REJECT_WITH` is `http`.
    Tell(ServiceError, Place),
    /// By its HTTP status, always.
    Answer(ServiceError),
}

/// Origin, drain and room: what is refused before the token is looked at.
fn room(service: &Service, request: &Request<Incoming>, address: IpAddr) -> Result<Place, ServiceError> {
    let config = &service.config;
    origin::check(&config.server.allowed_origins, config.environment, request.headers())?;
    open_for_upgrades(service)?;
    service.admission.enter(address)
}

/// Waits until the user's channels are subscribed, then registers the connection, then reads what its client missed, all
/// before its 101: what is published from that on is not missed. An older connection makes room at the very end, for an
/// upgrade that fails for want of Redis must not evict anybody.
async fn admit(service: &Arc<Service>, identity: Identity, visit: Visit<'_>) -> Result<Guest, Refused> {
    let Visit { address, client, correlation_id, place, talk, span } = visit;
    if span.is_recorded() {
        span.set("enduser.pseudo.id", service.tracer.user(&identity.user));
        span.set("websocket.mode", if matches!(talk, Talk::Plain) { "plain" } else { "v1" });
    }
    let deadline = Instant::now() + SUBSCRIBE_WAIT;
    let subscription = match timeout_at(deadline, service.backplane.subscribe(identity.user.clone())).await {
        Ok(Ok(subscription)) => subscription,
        // It would not be served later either. A close has room for so few words.
        Ok(Err(BackplaneError::UserId)) => {
            let refusal = ServiceError::new(ErrorCode::Validation, "connect", "User id has a brace");
            return Err(Refused::Tell(refusal, place));
        }
        Ok(Err(error)) => return Err(silent("subscribe", error.label())),
        Err(_) => return Err(silent("subscribe", BackplaneError::Timeout.label())),
    };
    // The wait may have outlasted the lame duck.
    open_for_upgrades(service).map_err(Refused::Answer)?;
    let limits = &service.config.limits;
    let limit = UserLimit { connections: limits.per_user, policy: limits.per_user_policy };
    let expires_at = expires_at(service.config.auth.leeway, &identity);
    let (mode, outbox) = match talk {
        Talk::V1 { .. } if service.history.is_some() => (Mode::V1, Outbox::resuming()),
        Talk::V1 { .. } => (Mode::V1, Outbox::default()),
        Talk::Plain => (Mode::Plain, Outbox::default()),
    };
    let connection = Connection::new(address, mode, outbox);
    connection.renew(identity.credential);
    let registration = match service.hub.register(identity.user, connection, limit) {
        Ok(registration) => registration,
        Err(error) => {
            return Err(Refused::Tell(too_many(error.limit), place));
        }
    };
    // Revocations close what is registered; one that came before that would miss this connection.
    if v1::is_revoked(&service.verifier, registration.user(), registration.connection()) {
        return Err(Refused::Tell(TokenError::Revoked.into(), place));
    }
    // A cut between the subscription and the registration would go unnoticed by this connection alone.
    if !service.backplane.unbroken(&subscription) {
        return Err(silent("subscribe", BackplaneError::Unavailable.label()));
    }
    let v1 = match talk {
        Talk::Plain => None,
        Talk::V1 { last_event_id } => {
            match timeout_at(deadline, v1::begin(service, &registration, last_event_id.as_deref())).await {
                Ok(Ok(v1)) => Some(v1),
                Ok(Err(error)) => {
                    debug!(%error, "history cannot be read for an upgrade");
                    return Err(silent("resume", BackplaneError::Unavailable.label()));
                }
                Err(_) => return Err(silent("resume", BackplaneError::Timeout.label())),
            }
        }
    };
    let presence = match enter(service, &registration, limit, client).await {
        Ok(presence) => presence,
        Err(limit) => return Err(Refused::Tell(too_many(limit), place)),
    };
    service.hub.make_room(registration.user(), limit);
    let connected = span.connected();
    if connected.is_some() {
        span.set("websocket.connection_id", registration.connection().id.to_string());
    }
    Ok(Guest { registration, subscription, presence, place, expires_at, correlation_id, v1, connected })
}

/// Enters the connection into the fleet's registry, and has those closed that make room for it.
///
/// Where the fleet cannot be asked, the limit counts on each pod by itself: a user is not to be locked out for it.
///
/// # Errors
/// The limit, where the user has as many.
async fn enter(
    service: &Service,
    registration: &Registration,
    limit: UserLimit,
    client: Option<String>,
) -> Result<Option<Presence>, usize> {
    let Some(registry) = &service.registry else { return Ok(None) };
    let user = registration.user();
    let entry = presence::entry(registration.connection(), &service.pod, client);
    let id = entry.id;
    // What may have been done is undone, also if nobody hears the answer.
    let presence = Presence::new(Arc::clone(registry), user.clone(), id);
    let limit = backplane::Limit { connections: limit.connections, policy: limit.policy };
    match timeout(ENTER_WAIT, registry.enter(user.clone(), entry, limit)).await {
        Ok(Ok(evicted)) => {
            if !evicted.is_empty() {
                let (user, why) = (user.clone(), Why::Replaced);
                let which = Disconnect { user, connections: evicted, opened_before: None, why };
                if let Err(error) = registry.disconnect(which).await {
                    debug!(%error, "connections beyond their user's limit stay on other pods");
                }
            }
            Ok(Some(presence))
        }
        Ok(Err(EnterError::Full)) => Err(limit.connections),
        Ok(Err(EnterError::Unknown(_))) | Err(_) => Ok(Some(presence)),
    }
}

fn too_many(limit: usize) -> ServiceError {
    ServiceError::new(ErrorCode::QuotaExceeded, "connect", "Too many connections").with_detail("limit", limit)
}

/// The refusal of an upgrade for which the backplane had no answer.
fn silent(operation: &'static str, reason: &'static str) -> Refused {
    let refusal = unavailable(operation, "The backplane does not answer").with_detail("reason", reason);
    Refused::Answer(refusal)
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
pub(super) fn expires_at(leeway: Duration, identity: &Identity) -> Instant {
    let remaining = identity.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
    expiry(remaining + leeway, Instant::now())
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

/// How a token's refusal is told. One that could not be looked at is to be shown again, and not by all at once.
fn untaken(error: TokenError) -> ServiceError {
    let refusal = ServiceError::from(error);
    if error == TokenError::NoKeys { refusal.with_retry_after(retry_after(1, 10)) } else { refusal }
}

pub(super) fn token_result(verified: &Result<Identity, TokenError>) -> TokenResult {
    match verified {
        Ok(_) => TokenResult::Success,
        Err(TokenError::Expired) => TokenResult::Expired,
        Err(TokenError::NoKeys) => TokenResult::Unavailable,
        Err(_) => TokenResult::Invalid,
    }
}
