//! How a connection in v1 mode begins: what the client has already, what it is told, and how its token is renewed.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::Service;
use super::query::parameter;
use super::revocations::revoked;
use super::upgrade::{expires_at, token_result};
use crate::auth::{self, TokenError, Verifier};
use crate::history::{self, HistoryError};
use crate::hub::{Connection, Registration};
use crate::metrics::{Metrics, Resume};
use crate::protocol::frame::{self, Hello, Reach};
use crate::protocol::{ErrorCode, ServiceError, UserId};
use crate::session::{CatchUp, NotRenewed, Renewals, V1, page_limit};

/// The header of a client that resumes, as `EventSource` names it.
const HEADER: HeaderName = HeaderName::from_static("last-event-id");
/// The query parameter, for browsers, which can set no header on an upgrade. It counts where both are given.
const PARAMETER: &str = "last_event_id";

/// The id that the client says it has, as it says it: in the query, else in the header. An empty one is none.
#[must_use]
pub fn last_event_id(query: Option<&str>, headers: &HeaderMap) -> Option<String> {
    let in_query = parameter(query, PARAMETER).map(|value| {
        // What cannot be decoded is no id, and is told so as it stands.
        auth::decode_form(value).map_or_else(|| value.to_owned(), std::borrow::Cow::into_owned)
    });
    let in_header = || {
        let value = headers.get(HEADER)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let given = |id: &String| !id.is_empty();
    in_query.filter(given).or_else(in_header).filter(given)
}

/// Reads what the client missed, and makes its hello. Called once its channels are subscribed and it is registered.
///
/// # Errors
/// [`HistoryError`] when history cannot be read now.
pub(super) async fn begin(
    service: &Arc<Service>,
    registration: &Registration,
    last_event_id: Option<&str>,
) -> Result<Box<V1>, HistoryError> {
    let config = &service.config.session;
    let user = registration.user();
    let mut hello = Hello {
        connection_id: registration.connection().id,
        user_id: user.clone(),
        heartbeat_seconds: config.heartbeat.as_secs(),
        cursor: None,
        resumed: false,
        history: None,
    };
    let mut catch_up = None;
    if let Some(history) = &service.history {
        let opening = history::open(&**history, user, last_event_id, page_limit(config)).await?;
        let kept = service.config.history;
        hello.cursor = Some(opening.cursor);
        hello.resumed = opening.resumed;
        hello.history = Some(Reach { messages: kept.size, seconds: kept.ttl.as_secs() });
        let began = match (opening.resumed, &opening.gap) {
            (true, _) => Resume::Resumed,
            (false, Some(_)) => Resume::Gap,
            (false, None) => Resume::First,
        };
        service.metrics.resumes.of(began).inc();
        let history = Arc::clone(history);
        catch_up = Some(CatchUp::new(history, user.clone(), opening, config, &service.metrics));
    }
    let renewals = Tokens {
        user: user.clone(),
        connection: Arc::clone(registration.connection()),
        verifier: Arc::clone(&service.verifier),
        metrics: Arc::clone(&service.metrics),
        leeway: service.config.auth.leeway,
    };
    Ok(Box::new(V1::new(frame::hello(&hello), catch_up, Box::new(renewals))))
}

/// Whether the token that a connection came with, or was given since, is revoked.
pub(super) fn is_revoked(verifier: &Verifier, user: &UserId, connection: &Connection) -> bool {
    connection.shows(|credential| verifier.revoked().hold(user, credential))
}

/// Looks at fresh tokens for one user.
#[derive(Clone)]
struct Tokens {
    user: UserId,
    connection: Arc<Connection>,
    verifier: Arc<Verifier>,
    metrics: Arc<Metrics>,
    leeway: std::time::Duration,
}

impl Renewals for Tokens {
    fn renew(&self, token: SecretString) -> BoxFuture<'static, Result<Instant, NotRenewed>> {
        let tokens = self.clone();
        Box::pin(async move { tokens.renewed(&token).await })
    }
}

impl Tokens {
    async fn renewed(&self, token: &SecretString) -> Result<Instant, NotRenewed> {
        let verified = self.verifier.verify_fresh(token.expose_secret()).await;
        self.metrics.jwt_validation.of(token_result(&verified)).inc();
        let identity = verified.map_err(|error| NotRenewed::Refused(error.into()))?;
        if identity.user != self.user {
            let message = "The token is another user's";
            return Err(NotRenewed::Stranger(ServiceError::new(ErrorCode::Authentication, "renew", message)));
        }
        let expires_at = expires_at(self.leeway, &identity);
        self.connection.renew(identity.credential);
        // One that was revoked in between would not have found it.
        if is_revoked(&self.verifier, &self.user, &self.connection) {
            self.connection.outbox.close(revoked());
            return Err(NotRenewed::Refused(TokenError::Revoked.into()));
        }
        Ok(expires_at)
    }
}
