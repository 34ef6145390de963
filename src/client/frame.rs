//! The frames of `websocket-service.v1`, as a client reads and writes them.

use std::borrow::Cow;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{Body, Message};

/// What the server says.
#[derive(Debug)]
pub(super) enum Frame {
    Hello(HelloFrame),
    Message(Message),
    Gap {
        after: Option<String>,
    },
    Reconnect {
        after: Duration,
    },
    Error(ErrorFrame),
    Pong(Option<Box<RawValue>>),
    /// A type that is new, or no frame at all: passed over.
    Unknown,
}

#[derive(Debug, Deserialize)]
pub(super) struct HelloFrame {
    pub(super) connection_id: Option<String>,
    pub(super) cursor: Option<String>,
    #[serde(default)]
    pub(super) resumed: bool,
    pub(super) history: Option<History>,
}

#[derive(Debug, Deserialize)]
pub(super) struct History {
    pub(super) messages: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorFrame {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    pub(super) correlation_id: Option<String>,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct MessageFrame<'a> {
    id: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    text: Option<String>,
    traceparent: Option<String>,
}

#[derive(Deserialize)]
struct Gap {
    after: Option<String>,
}

#[derive(Deserialize)]
struct Reconnect {
    after_ms: u64,
}

#[derive(Deserialize)]
struct Pong<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Frame {
    /// Reads a frame. The type is read first, so that fields of an unknown type may be anything.
    pub(super) fn parse(text: &str) -> Self {
        let Ok(Tag { kind }) = serde_json::from_str(text) else { return Self::Unknown };
        let known = match &*kind {
            "hello" => serde_json::from_str(text).map(Self::Hello),
            "message" => serde_json::from_str(text).map(Self::message),
            "gap" => serde_json::from_str(text).map(|Gap { after }| Self::Gap { after }),
            "reconnect" => serde_json::from_str(text)
                .map(|Reconnect { after_ms }| Self::Reconnect { after: Duration::from_millis(after_ms) }),
            "error" => serde_json::from_str(text).map(Self::Error),
            "pong" => {
                serde_json::from_str(text).map(|Pong { data }| Self::Pong(data.map(RawValue::to_owned)))
            }
            _ => Ok(Self::Unknown),
        };
        known.unwrap_or(Self::Unknown)
    }

    fn message(frame: MessageFrame<'_>) -> Self {
        let MessageFrame { id, data, text, traceparent } = frame;
        let body = match (text, data) {
            (Some(text), _) => Body::Text(text),
            (None, Some(data)) => Body::Json(data.to_owned()),
            // `"data":null` looks the same as none.
            (None, None) => Body::Json(RawValue::NULL.to_owned()),
        };
        Self::Message(Message { id, body, traceparent })
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Out<'a> {
    Auth { token: &'a str },
    Ping { data: &'a RawValue },
}

/// `{"type":"auth","token":"…"}`.
pub(super) fn auth(token: &SecretString) -> String {
    written(&Out::Auth { token: token.expose_secret() })
}

/// `{"type":"ping","data":…}`.
pub(super) fn ping(data: &RawValue) -> String {
    written(&Out::Ping { data })
}

fn written(frame: &Out<'_>) -> String {
    // Texts and valid JSON: it cannot fail.
    to_raw_value(frame).map_or_else(|_| String::new(), |json| json.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> (Option<String>, Body) {
        match Frame::parse(text) {
            Frame::Message(message) => (message.id, message.body),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_keeps_its_json_as_it_was_written() {
        let (id, body) = message(r#"{"data":{"b": 1,  "a":1.50},"id":"5-0","type":"message","new":[]}"#);
        assert_eq!(id.as_deref(), Some("5-0"));
        assert!(matches!(body, Body::Json(json) if json.get() == r#"{"b": 1,  "a":1.50}"#));
        let (id, body) = message(r#"{"type":"message","text":"h\u00e9"}"#);
        assert!(id.is_none() && matches!(body, Body::Text(text) if text == "hé"));
        let (_, body) = message(r#"{"type":"message","id":"6-0","data":null}"#);
        assert!(matches!(body, Body::Json(json) if json.get() == "null"));
    }

    #[test]
    fn hello_is_read_with_and_without_history() {
        let full = r#"{"type":"hello","connection_id":"c","user_id":"u","heartbeat_seconds":30,"cursor":"5-0",
            "resumed":true,"history":{"messages":100,"seconds":3600}}"#;
        let Frame::Hello(hello) = Frame::parse(full) else { panic!("hello") };
        assert_eq!((hello.cursor.as_deref(), hello.resumed), (Some("5-0"), true));
        assert_eq!(hello.history.map(|history| history.messages), Some(100));
        let off = r#"{"type":"hello","connection_id":"c","cursor":null,"resumed":false,"history":null}"#;
        let Frame::Hello(hello) = Frame::parse(off) else { panic!("hello") };
        assert!(hello.cursor.is_none() && hello.history.is_none() && !hello.resumed);
    }

    #[test]
    fn the_other_types_are_read_and_the_unknown_are_passed_over() {
        assert!(matches!(Frame::parse(r#"{"type":"gap","after":null}"#), Frame::Gap { after: None }));
        let reconnect = Frame::parse(r#"{"type":"reconnect","after_ms":1234,"reason":"drain"}"#);
        assert!(
            matches!(reconnect, Frame::Reconnect { after } if after == Duration::from_millis(1234)),
            "{reconnect:?}"
        );
        let error = Frame::parse(r#"{"type":"error","code":"AUTHENTICATION_ERROR","message":"no"}"#);
        assert!(matches!(error, Frame::Error(error) if error.code == "AUTHENTICATION_ERROR"));
        let pong = Frame::parse(r#"{"type":"pong","data":[1]}"#);
        assert!(matches!(pong, Frame::Pong(Some(data)) if data.get() == "[1]"));
        let unknown = [
            "",
            "[]",
            "Echo: hi",
            r#"{"type":5}"#,
            r#"{"type":"news","id":{},"data":1}"#,
            r#"{"type":"reconnect"}"#,
        ];
        for text in unknown {
            assert!(matches!(Frame::parse(text), Frame::Unknown), "{text}");
        }
    }

    #[test]
    fn what_a_client_says_is_one_object() {
        let token = SecretString::from("a.b.c");
        assert_eq!(auth(&token), r#"{"type":"auth","token":"a.b.c"}"#);
        assert_eq!(ping(RawValue::NULL), r#"{"type":"ping","data":null}"#);
    }
}
