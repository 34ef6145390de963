//! One id for a request's answer, log lines and close frame.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::query::parameter;
use super::refusal::render;
use crate::protocol::{CorrelationId, ServiceError, Traceparent};
use crate::telemetry::events;

/// The header of requests and answers.
const HEADER: HeaderName = HeaderName::from_static("x-correlation-id");
/// The query parameter, for browsers, which can set no header on an upgrade.
const PARAMETER: &str = "correlation_id";

/// Takes over the caller's id or makes one, gives it to the handler, writes the error that came out, if one did, and
/// returns the id on every answer.
pub(super) async fn around(mut request: Request, next: Next) -> Response {
    let id = of(&request);
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ServiceError>() {
        response = with_headers_of(&response, failed(&error, id));
    }
    named(response, id)
}

/// The caller's id, or a new one.
pub(super) fn of<B>(request: &http::Request<B>) -> CorrelationId {
    find(request).unwrap_or_else(CorrelationId::random)
}

/// The trace that the caller named, in the W3C header `traceparent`. One that cannot be read is none, as the standard says.
pub(super) fn caller(headers: &HeaderMap) -> Option<Traceparent> {
    Traceparent::parse(headers.get("traceparent")?.to_str().ok()?)
}

/// Writes an error, and answers with it.
pub(super) fn failed(error: &ServiceError, id: CorrelationId) -> Response {
    events::failed(error, id);
    render(error, id)
}

/// The answer with the id on it.
pub(super) fn named(mut response: Response, id: CorrelationId) -> Response {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// Keeps what others said beside the error: `Allow` of a 405, the answers to a browser's questions.
fn with_headers_of(before: &Response, mut rendered: Response) -> Response {
    for (name, value) in before.headers() {
        if name != header::CONTENT_LENGTH {
            rendered.headers_mut().append(name.clone(), value.clone());
        }
    }
    rendered
}

fn find<B>(request: &http::Request<B>) -> Option<CorrelationId> {
    if let Some(value) = request.headers().get(HEADER) {
        return value.to_str().ok().and_then(CorrelationId::parse);
    }
    parameter(request.uri().query(), PARAMETER).and_then(CorrelationId::parse)
}
