use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use super::frame::ReconnectReason;
use super::limits::MAX_CLOSE_REASON_BYTES;
use super::{CorrelationId, ErrorCode};

/// Every code this service closes a connection with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is described in its row of CLOSE_CODES")]
pub enum CloseCode {
    Normal,
    GoingAway,
    ProtocolError,
    Unsupported,
    InvalidUtf8,
    Policy,
    TooLarge,
    Internal,
    Restart,
    TryAgainLater,
    ConnectionLimit,
    HeartbeatTimeout,
    SlowConsumer,
    TooFast,
    Disconnected,
}

/// What a close code means and what its client should do.
#[derive(Debug, Clone, Copy)]
pub struct CloseRow {
    /// The code.
    pub code: CloseCode,
    /// Its number on the wire.
    pub number: u16,
    /// When it is sent.
    pub when: &'static str,
    /// What a client does next.
    pub advice: &'static str,
}

const fn row(code: CloseCode, number: u16, when: &'static str, advice: &'static str) -> CloseRow {
    CloseRow { code, number, when, advice }
}

const AGAIN: &str = "reconnect, with a random delay of up to some seconds that doubles while it fails";
const NEW_TOKEN: &str = "fetch a new token, then reconnect";
const BUG: &str = "do not reconnect: the client has a bug";

/// Every close code, in the order of [`CloseCode`].
#[rustfmt::skip]
pub const CLOSE_CODES: [CloseRow; 15] = [
    row(CloseCode::Normal, 1000, "the client closed", "nothing"),
    row(CloseCode::GoingAway, 1001, "drain, where DRAIN_CLOSE_CODE says so", AGAIN),
    row(CloseCode::ProtocolError, 1002, "protocol error", BUG),
    row(CloseCode::Unsupported, 1003, "binary message", BUG),
    row(CloseCode::InvalidUtf8, 1007, "a text message that is no UTF-8", BUG),
    row(CloseCode::Policy, 1008, "token refused or expired", NEW_TOKEN),
    row(CloseCode::TooLarge, 1009, "a message larger than MAX_MESSAGE_BYTES", BUG),
    row(CloseCode::Internal, 1011, "internal error", AGAIN),
    row(CloseCode::Restart, 1012, "drain, rebalance, shutdown", AGAIN),
    row(CloseCode::TryAgainLater, 1013, "overloaded after the upgrade, or the keys that tokens are checked with cannot be fetched", AGAIN),
    row(CloseCode::ConnectionLimit, 4000, "the user's connection limit", "do not reconnect by itself: another tab or device of the user has the place"),
    row(CloseCode::HeartbeatTimeout, 4001, "no sign of life within the connection timeout", AGAIN),
    row(CloseCode::SlowConsumer, 4002, "slow consumer: its outgoing buffer is full (policy close)", AGAIN),
    row(CloseCode::TooFast, 4003, "client sends too fast", "reconnect later, and send less"),
    row(CloseCode::Disconnected, 4004, "disconnected by an operator, or token revoked", "do not reconnect by itself; log in again"),
];

impl CloseCode {
    /// Its row in [`CLOSE_CODES`].
    #[must_use]
    pub const fn row(self) -> &'static CloseRow {
        &CLOSE_CODES[self as usize]
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.row().number
    }
}

/// Why a connection ends: the code and the reason in its close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The number in the frame.
    pub code: CloseCode,
    /// The error in the reason; none for a close that is no error (1000).
    pub error: Option<ErrorCode>,
    /// For a person; shortened in the frame where it does not fit.
    pub message: Cow<'static, str>,
    /// When to come back, for clients in v1 mode.
    pub reconnect: Option<Reconnect>,
}

/// An invitation to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// After so long.
    pub after: Duration,
    /// Why.
    pub reason: ReconnectReason,
}

#[derive(Serialize)]
struct Reason<'a> {
    error_code: ErrorCode,
    message: &'a str,
    correlation_id: CorrelationId,
}

impl Close {
    /// A close with the code that belongs to the error.
    #[must_use]
    pub fn of(error: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: error.row().close, error: Some(error), message: message.into(), reconnect: None }
    }

    /// A close with a narrower code than the error's own.
    #[must_use]
    pub fn with_code(code: CloseCode, error: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, error: Some(error), message: message.into(), reconnect: None }
    }

    /// The same, with an invitation to come back.
    #[must_use]
    pub fn inviting(self, after: Duration, reason: ReconnectReason) -> Self {
        Self { reconnect: Some(Reconnect { after, reason }), ..self }
    }

    /// The answer to a client that closed.
    #[must_use]
    pub fn normal() -> Self {
        Self { code: CloseCode::Normal, error: None, message: Cow::Borrowed(""), reconnect: None }
    }

    /// The reason as it stands in the frame: JSON of at most [`MAX_CLOSE_REASON_BYTES`], empty for a close that is no
    /// error. The message is shortened at a character until the whole fits; the JSON is never cut.
    #[must_use]
    pub fn reason(&self, correlation_id: CorrelationId) -> String {
        let Some(error_code) = self.error else { return String::new() };
        let mut message: &str = &self.message;
        loop {
            let text = serde_json::to_string(&Reason { error_code, message, correlation_id })
                .unwrap_or_else(|_| String::new());
            if text.len() <= MAX_CLOSE_REASON_BYTES || message.is_empty() {
                return text;
            }
            // One character at least; more would cut escapes short, which take up to six bytes in the JSON.
            let excess = text.len() - MAX_CLOSE_REASON_BYTES;
            let end = message.floor_char_boundary(message.len().saturating_sub(excess.div_ceil(6)));
            message = &message[..end];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ERROR_CODES;
    use proptest::prelude::*;

    #[test]
    fn rows_stand_in_the_order_of_the_enum() {
        for row in &CLOSE_CODES {
            assert_eq!(row.code.number(), row.number);
        }
    }

    #[test]
    fn the_expiry_message_fits_whole() {
        let reason =
            Close::of(ErrorCode::Authentication, "Token has expired").reason(CorrelationId::random());
        assert_eq!(reason.len(), MAX_CLOSE_REASON_BYTES);
        assert!(reason.contains("Token has expired"));
    }

    proptest! {
        #[test]
        fn a_reason_is_short_valid_json_with_a_prefix_of_the_message(message in ".*", row in 0..ERROR_CODES.len()) {
            let id = CorrelationId::random();
            let close = Close::of(ERROR_CODES[row].code, message.clone());
            let text = close.reason(id);
            prop_assert!(text.len() <= MAX_CLOSE_REASON_BYTES);
            let value: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
            prop_assert_eq!(value["error_code"].as_str(), Some(ERROR_CODES[row].name));
            let id = id.to_string();
            prop_assert_eq!(value["correlation_id"].as_str(), Some(id.as_str()));
            prop_assert!(message.starts_with(value["message"].as_str().expect("a message")));
        }
    }
}
