//! The publish API: what `PUBLISH` does, through HTTP, with an answer.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::time::{Duration, timeout};

use super::refusal::retry_after;
use super::{Service, correlation};
use crate::auth::ApiKeyError;
use crate::backplane::{BackplaneError, Published};
use crate::metrics::{FailedMessage, Publishing};
use crate::protocol::limits::{MAX_BATCH_BYTES, MAX_BATCH_MESSAGES};
use crate::protocol::{
    CorrelationId, ErrorCode, IdempotencyKey, Payload, Publication, ServiceError, Traceparent, UserId,
};
use crate::trace::{self, Side, Span};

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// `POST /v1/users/{user_id}/messages`: the body is the payload.
pub(super) async fn one(
    State(service): State<Arc<Service>>,
    Extension(correlation_id): Extension<CorrelationId>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<(StatusCode, Json<Published>), ServiceError> {
    let call = Call::of(&service, &request, correlation_id);
    call.made(take_one(&service, path, request, &call.span)).await
}

async fn take_one(
    service: &Service,
    path: Result<Path<String>, PathRejection>,
    request: Request,
    span: &Span,
) -> Result<Published, ServiceError> {
    authorize(service, request.headers())?;
    let user = user(path, "publish")?;
    let named = Named::read(request.headers(), span)?;
    if span.is_recorded() {
        span.set("enduser.pseudo.id", service.tracer.user(&user));
    }
    let limit = service.config.session.max_message_bytes;
    let body = read(request, limit).await?;
    if body.is_empty() {
        return Err(invalid("The body is the payload, and it is empty"));
    }
    let payload = Payload::try_from(body).map_err(|_| invalid("The payload must be UTF-8"))?;
    let publication = named.publication(payload);
    service.backplane.publish(user, publication).await.map_err(|error| failed(service, &error, 1))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// `POST /v1/messages`: up to 1,000 messages, all or nothing. The headers hold for each of them.
pub(super) async fn batch(
    State(service): State<Arc<Service>>,
    Extension(correlation_id): Extension<CorrelationId>,
    request: Request,
) -> Result<(StatusCode, Json<Vec<Published>>), ServiceError> {
    let call = Call::of(&service, &request, correlation_id);
    call.made(take_batch(&service, request, &call.span)).await
}

async fn take_batch(
    service: &Service,
    request: Request,
    span: &Span,
) -> Result<Vec<Published>, ServiceError> {
    authorize(service, request.headers())?;
    let named = Named::read(request.headers(), span)?;
    let body = read(request, MAX_BATCH_BYTES).await?;
    let messages = parse(&body, &named, service.config.session.max_message_bytes)?;
    let count = messages.len();
    span.set("messaging.batch.message_count", i64::try_from(count).unwrap_or(i64::MAX));
    service.backplane.publish_all(messages).await.map_err(|error| failed(service, &error, count))
}

/// One call of the API, counted and traced.
struct Call<'a> {
    service: &'a Service,
    correlation_id: CorrelationId,
    span: Span,
}

impl<'a> Call<'a> {
    fn of(service: &'a Service, request: &Request, correlation_id: CorrelationId) -> Self {
        let caller = correlation::caller(request.headers());
        let span = service.tracer.span("publish", Side::Producer, caller.as_ref());
        Self { service, correlation_id, span }
    }

    async fn made<T: Messages>(
        &self,
        call: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<(StatusCode, Json<T>), ServiceError> {
        let of = |result| self.service.metrics.publications.of(result);
        match self.span.cover(call).await {
            Ok(published) => {
                of(Publishing::Accepted).inc_by(published.count());
                Ok((StatusCode::ACCEPTED, Json(published)))
            }
            Err(error) => {
                // What the backplane did not take was counted where its number was known.
                if !matches!(error.code, ErrorCode::ServiceUnavailable | ErrorCode::ExternalService) {
                    of(Publishing::Rejected).inc();
                }
                Err(self.span.around(|| trace::recorded(error, self.correlation_id)))
            }
        }
    }
}

/// What a call answers with.
trait Messages {
    fn count(&self) -> u64;
}

impl Messages for Published {
    fn count(&self) -> u64 {
        1
    }
}

impl Messages for Vec<Published> {
    fn count(&self) -> u64 {
        self.len() as u64
    }
}

/// Reads and checks the whole list before anything of it is published.
fn parse(body: &[u8], named: &Named, limit: usize) -> Result<Vec<(UserId, Publication)>, ServiceError> {
    const SHAPE: &str = r#"The body must be a JSON list of {"user_id": "…", "data": …}"#;
    let body = std::str::from_utf8(body).map_err(|_| invalid("The body must be UTF-8"))?;
    let messages: Vec<Message<'_>> = serde_json::from_str(body).map_err(|error| {
        // The first fault may be one of shape in what is no JSON at all further on.
        let json = error.is_data() && serde_json::from_str::<IgnoredAny>(body).is_ok();
        let status = if json { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        invalid(SHAPE).with_status(status).with_detail("reason", error.to_string())
    })?;
    if messages.len() > MAX_BATCH_MESSAGES {
        return Err(invalid("At most 1000 messages in one call")
            .with_status(StatusCode::PAYLOAD_TOO_LARGE)
            .with_detail("messages", messages.len()));
    }
    let checked = messages.iter().enumerate().map(|(index, message)| {
        let user = UserId::new(&message.user_id).map_err(|error| {
            invalid(error.to_string())
                .with_status(StatusCode::UNPROCESSABLE_ENTITY)
                .with_detail("index", index)
        })?;
        let data = message.data.get();
        if data.len() > limit {
            return Err(too_large(limit).with_detail("index", index));
        }
        Ok((user, named.of_index(index).publication(Payload::from(data))))
    });
    checked.collect()
}

/// What the headers say about what is published.
#[derive(Default)]
struct Named {
    idempotency_key: Option<IdempotencyKey>,
    traceparent: Option<Traceparent>,
}

impl Named {
    /// The trace that travels with the message is this call's span, which is in the caller's trace; without spans, what the
    /// caller said.
    fn read(headers: &HeaderMap, span: &Span) -> Result<Self, ServiceError> {
        let mut keys = headers.get_all("idempotency-key").iter();
        let key = keys.next().map(|key| IdempotencyKey::new(key.as_bytes())).transpose();
        let idempotency_key = key.map_err(|error| invalid(error.to_string()))?;
        if keys.next().is_some() {
            return Err(invalid("Idempotency-Key must be given once"));
        }
        let traceparent = span.traceparent().or_else(|| correlation::caller(headers));
        Ok(Self { idempotency_key, traceparent })
    }

    /// The same for one message of a batch.
    fn of_index(&self, index: usize) -> Self {
        let idempotency_key = self.idempotency_key.as_ref().map(|key| key.of_index(index));
        Self { idempotency_key, traceparent: self.traceparent.clone() }
    }

    fn publication(self, payload: Payload) -> Publication {
        Publication { payload, idempotency_key: self.idempotency_key, traceparent: self.traceparent }
    }
}

pub(super) fn authorize(service: &Service, headers: &HeaderMap) -> Result<(), ServiceError> {
    // The routes exist only with a key.
    let Some(key) = &service.api_key else { return Err(ApiKeyError::Missing.into()) };
    key.check(headers).map_err(ServiceError::from)
}

/// The body, within a size and a time.
async fn read(request: Request, limit: usize) -> Result<Bytes, ServiceError> {
    match timeout(BODY_WAIT, to_bytes(request.into_body(), limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large(limit)),
        Ok(Err(_)) => Err(invalid("The body did not arrive whole")),
        Err(_) => Err(ServiceError::new(ErrorCode::Timeout, "publish", "The body took too long to arrive")
            .with_status(StatusCode::REQUEST_TIMEOUT)),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// A body that axum read, of at most its default of 2 MB.
pub(super) fn whole(
    body: Result<Bytes, BytesRejection>,
    operation: &'static str,
) -> Result<Bytes, ServiceError> {
    body.map_err(|rejection| {
        ServiceError::new(ErrorCode::Validation, operation, rejection.body_text())
            .with_status(rejection.status())
    })
}

/// The user id of a path, percent-decoded.
pub(super) fn user(
    path: Result<Path<String>, PathRejection>,
    operation: &'static str,
) -> Result<UserId, ServiceError> {
    let invalid = |message: String| ServiceError::new(ErrorCode::Validation, operation, message);
    let Path(text) = path.map_err(|_| invalid("The user id in the path is not UTF-8".to_owned()))?;
    UserId::new(&text).map_err(|error| invalid(error.to_string()))
}

fn invalid(message: impl Into<Cow<'static, str>>) -> ServiceError {
    ServiceError::new(ErrorCode::Validation, "publish", message)
}

fn too_large(limit: usize) -> ServiceError {
    invalid("The payload is too large").with_status(StatusCode::PAYLOAD_TOO_LARGE).with_detail("limit", limit)
}

/// What the caller hears of a backplane that did not take its messages. The server's own words are for the log.
fn failed(service: &Service, error: &BackplaneError, messages: usize) -> ServiceError {
    service.metrics.messages_failed.of(FailedMessage::PublishFailed).inc_by(messages as u64);
    service.metrics.publications.of(Publishing::Failed).inc_by(messages as u64);
    let (code, message) = match error {
        BackplaneError::Unavailable => (ErrorCode::ServiceUnavailable, "The backplane is not connected"),
        BackplaneError::Timeout => (ErrorCode::ServiceUnavailable, "The backplane did not answer in time"),
        BackplaneError::UserId => {
            return invalid("A user id with a closing brace, }, cannot be served by a Redis Cluster");
        }
        BackplaneError::Refused(words) => {
            tracing::warn!(words, "the backplane refused a message");
            (ErrorCode::ExternalService, "The backplane refused the message")
        }
    };
    ServiceError::new(code, "publish", message).with_retry_after(retry_after(1, 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(body: &str) -> Result<usize, u16> {
        parse(body.as_bytes(), &Named::default(), 32)
            .map(|messages| messages.len())
            .map_err(|error| error.status().as_u16())
    }

    #[test]
    fn a_batch_is_checked_as_a_whole() {
        assert_eq!(status(r#"[{"user_id":"a","data":{"n":1}},{"user_id":"b","data":null}]"#), Ok(2));
        assert_eq!(status("[]"), Ok(0));
        for (body, expected) in [
            ("[", 400),
            ("{", 400),
            ("[7,", 400),
            ("{}", 422),
            (r#"[{"user_id":"a"}]"#, 422),
            (r#"[{"user":"a","data":1}]"#, 422),
            (r#"[{"user_id":"","data":1}]"#, 422),
            (r#"[{"user_id":"a","data":"0123456789012345678901234567890123456789"}]"#, 413),
        ] {
            assert_eq!(status(body), Err(expected), "{body}");
        }
        let many = format!("[{}]", vec![r#"{"user_id":"a","data":1}"#; 1_001].join(","));
        assert_eq!(status(&many), Err(413));
    }

    #[test]
    fn data_is_published_as_it_was_written() {
        let body = r#"[{"user_id":"gr\u00f6\u00dfe\n","data": {"b" : 1.0,  "a":"\u00e9"} }]"#;
        let messages = parse(body.as_bytes(), &Named::default(), 64).expect("valid");
        assert_eq!(messages[0].0.as_str(), "größe\n");
        assert_eq!(messages[0].1.payload.as_str(), r#"{"b" : 1.0,  "a":"\u00e9"}"#);
    }
}
