use std::fmt;

use http::StatusCode;
use serde::{Serialize, Serializer};
use tracing::Level;

use super::CloseCode;

/// The closed set of error codes that clients, logs and metrics see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is described in its row of ERROR_CODES")]
pub enum ErrorCode {
    Authentication,
    Authorization,
    Validation,
    RateLimit,
    QuotaExceeded,
    Connection,
    Timeout,
    ServiceUnavailable,
    ExternalService,
    Configuration,
    InvalidApiKey,
    InvalidRequest,
    ResourceNotFound,
    Processing,
    Unknown,
}

/// What an error code means everywhere: on the wire, in HTTP, in a close frame, in the log.
#[derive(Debug, Clone, Copy)]
pub struct ErrorRow {
    /// The code.
    pub code: ErrorCode,
    /// Its spelling in bodies, close reasons, logs and labels.
    pub name: &'static str,
    /// The HTTP status of an answer that carries it, unless the answer says a narrower one (413, 422, 426).
    pub status: StatusCode,
    /// The close code of a connection that ends with it.
    pub close: CloseCode,
    /// The level of its log line. What a stranger can cause at will is not a warning.
    pub level: Level,
    /// What it tells the reader of the documentation.
    pub meaning: &'static str,
}

const fn row(
    code: ErrorCode,
    name: &'static str,
    status: StatusCode,
    close: CloseCode,
    level: Level,
    meaning: &'static str,
) -> ErrorRow {
    ErrorRow { code, name, status, close, level, meaning }
}

/// Every error code, in the order of [`ErrorCode`]. The one table behind level, label, status and close code.
#[rustfmt::skip]
pub const ERROR_CODES: [ErrorRow; 15] = [
    row(ErrorCode::Authentication, "AUTHENTICATION_ERROR", StatusCode::UNAUTHORIZED, CloseCode::Policy, Level::INFO,
        "the token is missing, malformed, expired, or not signed by a known key"),
    row(ErrorCode::Authorization, "AUTHORIZATION_ERROR", StatusCode::FORBIDDEN, CloseCode::Disconnected, Level::INFO,
        "known, but not allowed: an origin outside ALLOWED_ORIGINS, a connection ended by an operator"),
    row(ErrorCode::Validation, "VALIDATION_ERROR", StatusCode::BAD_REQUEST, CloseCode::Unsupported, Level::INFO,
        "a body, id, parameter or frame that breaks a rule; the message names the rule"),
    row(ErrorCode::RateLimit, "RATE_LIMIT", StatusCode::TOO_MANY_REQUESTS, CloseCode::TooFast, Level::INFO,
        "too many in too short a time"),
    row(ErrorCode::QuotaExceeded, "QUOTA_EXCEEDED", StatusCode::TOO_MANY_REQUESTS, CloseCode::ConnectionLimit, Level::INFO,
        "too many connections of one user or one address"),
    row(ErrorCode::Connection, "CONNECTION_ERROR", StatusCode::BAD_GATEWAY, CloseCode::SlowConsumer, Level::INFO,
        "the connection cannot go on, for a reason on its client's side"),
    row(ErrorCode::Timeout, "TIMEOUT", StatusCode::GATEWAY_TIMEOUT, CloseCode::HeartbeatTimeout, Level::INFO,
        "no sign of life within the bound"),
    row(ErrorCode::ServiceUnavailable, "SERVICE_UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE, CloseCode::TryAgainLater, Level::WARN,
        "full, draining, starting, or the backplane or the issuer of tokens does not answer: try again, after Retry-After where given"),
    row(ErrorCode::ExternalService, "EXTERNAL_SERVICE_ERROR", StatusCode::SERVICE_UNAVAILABLE, CloseCode::TryAgainLater, Level::WARN,
        "Redis refused or failed; nothing was published"),
    row(ErrorCode::Configuration, "CONFIGURATION_ERROR", StatusCode::INTERNAL_SERVER_ERROR, CloseCode::Internal, Level::ERROR,
        "a setting that cannot work"),
    row(ErrorCode::InvalidApiKey, "INVALID_API_KEY", StatusCode::UNAUTHORIZED, CloseCode::Policy, Level::INFO,
        "the publish API's key is missing or wrong"),
    row(ErrorCode::InvalidRequest, "INVALID_REQUEST", StatusCode::BAD_REQUEST, CloseCode::ProtocolError, Level::INFO,
        "not a request of this interface: wrong method, no upgrade, broken protocol"),
    row(ErrorCode::ResourceNotFound, "RESOURCE_NOT_FOUND", StatusCode::NOT_FOUND, CloseCode::Policy, Level::INFO,
        "no such path, or nobody there"),
    row(ErrorCode::Processing, "PROCESSING_ERROR", StatusCode::INTERNAL_SERVER_ERROR, CloseCode::Internal, Level::ERROR,
        "the service failed at something it should be able to do"),
    row(ErrorCode::Unknown, "UNKNOWN_ERROR", StatusCode::INTERNAL_SERVER_ERROR, CloseCode::Internal, Level::ERROR,
        "anything else; a bug"),
];

impl ErrorCode {
    /// Its row in [`ERROR_CODES`].
    #[must_use]
    pub const fn row(self) -> &'static ErrorRow {
        &ERROR_CODES[self as usize]
    }

    /// Its spelling in bodies, close reasons, logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_enum() {
        for row in &ERROR_CODES {
            assert_eq!(row.code.row().name, row.name);
        }
    }
}
