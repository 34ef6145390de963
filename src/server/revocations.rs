//! Revoking tokens, and taking that back: over the whole fleet, at once.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Service;
use super::publish::{authorize, user, whole};
use super::refusal::retry_after;
use crate::auth::{MAX_EXP, TokenError};
use crate::backplane::{BackplaneError, RevokeError};
use crate::protocol::{Close, ErrorCode, Revocation, Revoked, ServiceError, TokenId};

/// How long a revocation is kept where nobody says so, in seconds: 30 days. Tokens that live longer are an exception.
const KEPT_SECONDS: u64 = 30 * 24 * 3600;

/// Latest `issued_before` beyond now, in seconds: for clocks that differ. Without a bound a time in milliseconds would
/// lock everybody out for good.
const AHEAD_SECONDS: u64 = 60;

/// What may be said of a revocation; nothing has to.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    issued_before: Option<u64>,
    kept_until: Option<u64>,
}

/// The answer to a revocation.
#[derive(Serialize)]
pub(super) struct Told {
    #[serde(flatten)]
    revocation: Revocation,
    /// How many pods heard it; the others read it when their link is there again.
    pods: u64,
}

/// Asks for the key of the publish API first, on the public port.
pub(super) async fn keyed(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Result<Response, ServiceError> {
    authorize(&service, request.headers())?;
    Ok(next.run(request).await)
}

/// `GET /v1/revocations`.
pub(super) async fn list(State(service): State<Arc<Service>>) -> Result<Json<Value>, ServiceError> {
    let mut all = service.revocations.all().await.map_err(|error| failed("list_revocations", &error))?;
    all.sort_by_key(|revocation| revocation.revoked.name());
    Ok(Json(json!({ "revocations": all })))
}

/// `PUT /v1/revocations/everybody`.
pub(super) async fn revoke_everybody(
    State(service): State<Arc<Service>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Told>, ServiceError> {
    let asked = Asked::read(body)?;
    let revoked = Revoked::Everybody { issued_before: asked.issued_before()? };
    revoke(&service, revoked, &asked).await
}

/// `PUT /v1/revocations/users/{user_id}`.
pub(super) async fn revoke_user(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Told>, ServiceError> {
    let user_id = user(path, "revoke")?;
    let asked = Asked::read(body)?;
    let revoked = Revoked::User { user_id, issued_before: asked.issued_before()? };
    revoke(&service, revoked, &asked).await
}

/// `PUT /v1/revocations/tokens/{jti}`.
pub(super) async fn revoke_token(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Told>, ServiceError> {
    let token_id = token_id(path)?;
    let asked = Asked::read(body)?;
    if asked.issued_before.is_some() {
        return Err(invalid("A token is revoked whenever it was issued: leave issued_before out"));
    }
    revoke(&service, Revoked::Token { token_id }, &asked).await
}

/// `DELETE /v1/revocations/everybody`.
pub(super) async fn lift_everybody(State(service): State<Arc<Service>>) -> Result<Json<Value>, ServiceError> {
    lift(&service, Revoked::Everybody { issued_before: 0 }).await
}

/// `DELETE /v1/revocations/users/{user_id}`.
pub(super) async fn lift_user(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ServiceError> {
    lift(&service, Revoked::User { user_id: user(path, "lift")?, issued_before: 0 }).await
}

/// `DELETE /v1/revocations/tokens/{jti}`.
pub(super) async fn lift_token(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ServiceError> {
    lift(&service, Revoked::Token { token_id: token_id(path)? }).await
}

/// How a connection whose token is revoked ends.
#[must_use]
pub fn revoked() -> Close {
    Close::of(ErrorCode::Authorization, TokenError::Revoked.to_string())
}

async fn revoke(service: &Service, revoked: Revoked, asked: &Asked) -> Result<Json<Told>, ServiceError> {
    let revocation = Revocation { revoked, kept_until: asked.kept_until()? };
    match service.revocations.revoke(revocation.clone()).await {
        Ok(pods) => {
            tracing::info!(revoked = ?revocation.revoked, kept_until = revocation.kept_until, pods, "tokens revoked");
            Ok(Json(Told { revocation, pods }))
        }
        Err(error @ RevokeError::Full) => {
            Err(ServiceError::new(ErrorCode::QuotaExceeded, "revoke", error.to_string()))
        }
        Err(RevokeError::Backplane(error)) => Err(failed("revoke", &error)),
    }
}

async fn lift(service: &Service, revoked: Revoked) -> Result<Json<Value>, ServiceError> {
    let name = format!("{revoked:?}");
    if !service.revocations.lift(revoked).await.map_err(|error| failed("lift", &error))? {
        let message = "There is no such revocation";
        return Err(ServiceError::new(ErrorCode::ResourceNotFound, "lift", message));
    }
    tracing::info!(revoked = name, "revocation lifted");
    Ok(Json(json!({ "lifted": true })))
}

impl Asked {
    fn read(body: Result<Bytes, BytesRejection>) -> Result<Self, ServiceError> {
        let body = whole(body, "revoke")?;
        if body.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(&body).map_err(|error| {
            invalid(r#"The body may be like {"issued_before":1795376330,"kept_until":1795379930}, in seconds since 1970"#)
                .with_detail("reason", error.to_string())
        })
    }

    /// By default all that were issued up to now. An `iat` has whole seconds: those of this second are among them.
    fn issued_before(&self) -> Result<u64, ServiceError> {
        let now = now();
        match self.issued_before {
            Some(time) if time > now + AHEAD_SECONDS => {
                Err(invalid("issued_before is in the future; it is in seconds since 1970, not milliseconds"))
            }
            Some(time) => Ok(time),
            None => Ok(now + 1),
        }
    }

    fn kept_until(&self) -> Result<u64, ServiceError> {
        let now = now();
        match self.kept_until {
            Some(time) if time <= now || time > MAX_EXP => {
                Err(invalid("kept_until must be a time to come, in seconds since 1970, up to the year 9999"))
            }
            Some(time) => Ok(time),
            None => Ok(now + KEPT_SECONDS),
        }
    }
}

fn token_id(path: Result<Path<String>, PathRejection>) -> Result<TokenId, ServiceError> {
    let Path(text) = path.map_err(|_| invalid("The token's id in the path is not UTF-8"))?;
    TokenId::new(&text).map_err(|error| invalid(error.to_string()))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> ServiceError {
    ServiceError::new(ErrorCode::Validation, "revoke", message)
}

fn failed(operation: &'static str, error: &BackplaneError) -> ServiceError {
    let (code, message) = match error {
        BackplaneError::Unavailable | BackplaneError::UserId => {
            (ErrorCode::ServiceUnavailable, "The backplane is not connected")
        }
        BackplaneError::Timeout => {
            (ErrorCode::ServiceUnavailable, "The backplane did not answer in time: ask again")
        }
        BackplaneError::Refused(words) => {
            tracing::warn!(words, "the backplane refused a revocation");
            (ErrorCode::ExternalService, "The backplane refused it")
        }
    };
    ServiceError::new(code, operation, message).with_retry_after(retry_after(1, 5))
}
