use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Close, CorrelationId, ErrorCode};

/// The name under which this program speaks in `error_detail.service`.
pub(crate) const SERVICE: &str = "websocket-service";

/// The one error type that leaves the service: as an HTTP body, a close reason and a log line.
///
/// Rooms keep small error enums of their own; they become this at the edge, where it is known who is told.
#[derive(Debug, Clone, thiserror::Error)]
pub struct ServiceError {
    /// Which of the closed set.
    pub code: ErrorCode,
    /// For a person, and safe to show a stranger: never a token, a key or an address of the inside.
    pub message: Cow<'static, str>,
    /// What was being done, as a short name: `connect`, `publish`.
    pub operation: &'static str,
    /// Facts to query by. Shown to the caller as well.
    pub details: Map<String, Value>,
    /// The span that it was recorded on, where there is one.
    pub trace: Option<Box<TraceIds>>,
    status: Option<StatusCode>,
    retry_after: Option<u32>,
}

/// A span, by the ids that a collector shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceIds {
    /// The trace: 32 hexadecimal digits.
    pub trace_id: String,
    /// The span within it: 16 hexadecimal digits.
    pub span_id: String,
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code, self.message)
    }
}

impl ServiceError {
    /// An error with its code's own status and no details.
    #[must_use]
    pub fn new(code: ErrorCode, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            operation,
            details: Map::new(),
            trace: None,
            status: None,
            retry_after: None,
        }
    }

    /// Answers with a narrower status than the code's own (413, 422, 426).
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds `Retry-After` to the answer, in seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds a fact to query by.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The HTTP status of an answer that carries this error.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or(self.code.row().status)
    }

    /// What `Retry-After` says, in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after
    }

    /// The close frame of a connection that ends with this error.
    #[must_use]
    pub fn to_close(&self) -> Close {
        Close::of(self.code, self.message.clone())
    }

    /// The `error_detail` object of bodies and logs.
    #[must_use]
    pub fn detail(&self, correlation_id: CorrelationId) -> Value {
        let now = OffsetDateTime::now_utc();
        let mut detail = json!({
            "error_code": self.code,
            "message": self.message,
            "correlation_id": correlation_id,
            "timestamp": now.format(&Rfc3339).unwrap_or_default(),
            "service": SERVICE,
            "operation": self.operation,
            "details": self.details,
        });
        if let Some(trace) = &self.trace {
            detail["trace_id"] = json!(trace.trace_id);
            detail["span_id"] = json!(trace.span_id);
        }
        detail
    }

    /// The HTTP body: `{"error": "[CODE] message", "error_detail": {…}}`.
    #[must_use]
    pub fn body(&self, correlation_id: CorrelationId) -> Value {
        json!({ "error": self.to_string(), "error_detail": self.detail(correlation_id) })
    }
}
