//! The frames of `websocket-service.v1`: one JSON object a text frame.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event_id::EventId;
use super::record::Traceparent;
use super::{ConnectionId, CorrelationId, ErrorCode, UserId};

/// The subprotocol's name.
pub const V1_PROTOCOL: &str = "websocket-service.v1";

/// The first frame of every connection.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename = "hello")]
pub struct Hello {
    /// Names the connection in the log and in the admin API.
    pub connection_id: ConnectionId,
    /// Whose connection it is.
    pub user_id: UserId,
    /// How often the server pings.
    pub heartbeat_seconds: u64,
    /// Where to resume from if nothing else arrives; `None` (null) while history is off.
    pub cursor: Option<EventId>,
    /// Whether everything after the given id follows.
    pub resumed: bool,
    /// How far history reaches; `None` (null) while it is off.
    pub history: Option<Reach>,
}

/// How far history reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Newest messages of the user that are kept, at least.
    pub messages: usize,
    /// For so long after the last of them.
    pub seconds: u64,
}

/// Why a client is asked to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReconnectReason {
    /// The pod goes, at its own pace.
    Drain,
    /// The pod stops at once.
    Shutdown,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ServerFrame<'a> {
    Message {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<EventId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
    },
    Gap {
        after: Option<&'a str>,
    },
    Reconnect {
        after_ms: u64,
        reason: ReconnectReason,
    },
    Error {
        code: ErrorCode,
        message: &'a str,
        correlation_id: CorrelationId,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a RawValue>,
    },
}

/// A published message. What is JSON goes in as it is, byte for byte; anything else as a string.
pub(super) fn message(id: Option<EventId>, traceparent: Option<&Traceparent>, payload: &str) -> String {
    let data: Option<&RawValue> = serde_json::from_str(payload).ok();
    let text = if data.is_some() { None } else { Some(payload) };
    write(&ServerFrame::Message { id, traceparent: traceparent.map(Traceparent::as_str), data, text })
}

/// The connection's first frame.
#[must_use]
pub fn hello(hello: &Hello) -> String {
    write(hello)
}

/// What came after this id is gone from history; `None` where nothing had been delivered.
#[must_use]
pub fn gap(after: Option<&str>) -> String {
    write(&ServerFrame::Gap { after })
}

/// The server is about to close, and wants the client back on another pod after a while.
#[must_use]
pub fn reconnect(after_ms: u64, reason: ReconnectReason) -> String {
    write(&ServerFrame::Reconnect { after_ms, reason })
}

/// Something the client sent was no good; the connection stays.
#[must_use]
pub fn error(code: ErrorCode, message: &str, correlation_id: CorrelationId) -> String {
    write(&ServerFrame::Error { code, message, correlation_id })
}

/// The answer to a ping, with the ping's data.
#[must_use]
pub fn pong(data: Option<&RawValue>) -> String {
    write(&ServerFrame::Pong { data })
}

/// These types have no map with keys that are not text, so they can always be written.
fn write(frame: &impl Serialize) -> String {
    serde_json::to_string(frame).unwrap_or_default()
}

/// What a client may send.
#[derive(Debug)]
pub enum ClientFrame {
    /// A fresh token for the same user.
    Auth(SecretString),
    /// Answered with a pong that has the same data, which is any JSON.
    Ping(Option<Box<RawValue>>),
    /// A type of a later version.
    Unknown,
}

/// A frame that cannot be read. The words are for the client; none of them are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No JSON object with a `type`.
    #[error("A frame is a JSON object with a type")]
    NotAFrame,
    /// A known type without what it needs.
    #[error("A frame of this type lacks a field, or has one of another kind")]
    Fields,
}

impl ClientFrame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// [`FrameError`]; types that are not known are none.
    pub fn read(text: &str) -> Result<Self, FrameError> {
        #[derive(Deserialize)]
        struct Typed<'a> {
            #[serde(borrow, rename = "type")]
            kind: std::borrow::Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Auth {
            token: String,
        }
        #[derive(Deserialize)]
        struct Ping {
            #[serde(default)]
            data: Option<Box<RawValue>>,
        }
        // Not by serde's tag, whose buffer cannot hold the raw text of a ping's data.
        let typed: Typed<'_> = serde_json::from_str(text).map_err(|_| FrameError::NotAFrame)?;
        match &*typed.kind {
            "auth" => serde_json::from_str(text).map(|Auth { token }| Self::Auth(token.into())),
            "ping" => serde_json::from_str(text).map(|Ping { data }| Self::Ping(data)),
            _ => return Ok(Self::Unknown),
        }
        .map_err(|_| FrameError::Fields)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_message_keeps_its_json_byte_for_byte() {
        let id = Some("17-3".parse().expect("an id"));
        for payload in ["{\"a\" : 1.0, \"a\":\"\\u00e9\"}", "7", "null", "\"x\"", "[1,\n2]", " {} "] {
            let expected = format!(r#"{{"type":"message","id":"17-3","data":{}}}"#, payload.trim());
            assert_eq!(message(id, None, payload), expected);
        }
        for payload in ["", "hello", "{", "größe \"x\"\n", "{} {}", "NaN"] {
            let frame: Value = serde_json::from_str(&message(None, None, payload)).expect("JSON");
            assert_eq!(frame, json!({ "type": "message", "text": payload }));
        }
        let trace = Traceparent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert!(message(id, trace.as_ref(), "7").contains(r#""traceparent":"00-4bf9"#));
    }

    #[test]
    fn the_other_frames_are_as_the_contract_has_them() {
        assert_eq!(gap(Some("x")), r#"{"type":"gap","after":"x"}"#);
        assert_eq!(gap(None), r#"{"type":"gap","after":null}"#);
        assert_eq!(
            reconnect(1234, ReconnectReason::Drain),
            r#"{"type":"reconnect","after_ms":1234,"reason":"drain"}"#
        );
        let correlation_id = CorrelationId::random();
        let frame: Value =
            serde_json::from_str(&error(ErrorCode::Validation, "no", correlation_id)).expect("JSON");
        let expected = json!({
            "type": "error", "code": "VALIDATION_ERROR", "message": "no",
            "correlation_id": correlation_id.to_string(),
        });
        assert_eq!(frame, expected);
        let hello = hello(&Hello {
            connection_id: ConnectionId::random(),
            user_id: UserId::new("ann").expect("an id"),
            heartbeat_seconds: 30,
            cursor: None,
            resumed: false,
            history: Some(Reach { messages: 100, seconds: 3600 }),
        });
        let frame: Value = serde_json::from_str(&hello).expect("JSON");
        assert_eq!(
            (&frame["type"], &frame["cursor"], &frame["resumed"]),
            (&json!("hello"), &json!(null), &json!(false))
        );
        assert_eq!(frame["history"], json!({ "messages": 100, "seconds": 3600 }));
    }

    #[test]
    fn a_client_s_frame_is_read_or_refused() {
        assert!(
            matches!(ClientFrame::read(r#"{"type":"auth","token":"t","more":1}"#), Ok(ClientFrame::Auth(token)) if token.expose_secret() == "t")
        );
        let Ok(ClientFrame::Ping(Some(data))) = ClientFrame::read(r#"{"data":{"a" :1},"type":"ping"}"#)
        else {
            panic!("a ping");
        };
        assert_eq!(pong(Some(&data)), r#"{"type":"pong","data":{"a" :1}}"#);
        assert!(matches!(ClientFrame::read(r#"{"type":"ping"}"#), Ok(ClientFrame::Ping(None))));
        assert_eq!(pong(None), r#"{"type":"pong"}"#);
        assert!(matches!(ClientFrame::read(r#"{"type":"subscribe"}"#), Ok(ClientFrame::Unknown)));
        for text in ["", "hello", "7", "[]", "{}", r#"{"type":7}"#, r#"{"type":null}"#] {
            assert!(matches!(ClientFrame::read(text), Err(FrameError::NotAFrame)), "{text}");
        }
        for text in [r#"{"type":"auth"}"#, r#"{"type":"auth","token":7}"#] {
            assert!(matches!(ClientFrame::read(text), Err(FrameError::Fields)), "{text}");
        }
    }
}
