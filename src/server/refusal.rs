//! How an error becomes an answer.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::protocol::{CorrelationId, ErrorCode, ServiceError};

/// Carries the error to `super::correlation`, which knows the correlation id and writes body and log line.
impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The whole answer to a failed request.
pub(super) fn render(error: &ServiceError, correlation_id: CorrelationId) -> Response {
    let mut response = (error.status(), Json(error.body(correlation_id))).into_response();
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match error.status() {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        _ => {}
    }
    response
}

/// The refusal of an upgrade that may be tried again after some seconds.
pub(super) fn refuse(code: ErrorCode, message: &'static str, (from, to): (u32, u32)) -> ServiceError {
    ServiceError::new(code, "connect", message).with_retry_after(retry_after(from, to))
}

/// When to come back, in seconds, at random so that those who were refused together do not come back together.
pub(super) fn retry_after(from: u32, to: u32) -> u32 {
    rand::random_range(from..=to)
}
