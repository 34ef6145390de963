//! Socket.IO 5 over Engine.IO 4, on WebSocket alone: <https://socket.io/docs/v4/socket-io-protocol/>.

use std::borrow::Cow;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::Heard;

/// With the query that Engine.IO needs, where the URL has none of its own.
pub(super) fn path(path: &str) -> String {
    match path {
        path if path.contains("EIO=") => path.to_owned(),
        path if path.contains('?') => format!("{path}&EIO=4&transport=websocket"),
        path => format!("{path}?EIO=4&transport=websocket"),
    }
}

/// `40{"token":"…"}` in answer to Engine.IO's `0{…}`.
pub(super) fn login(heard: Option<&[u8]>, token: &SecretString) -> Option<String> {
    heard?.starts_with(b"0").then(|| format!("40{}", json!({ "token": token.expose_secret() })))
}

/// `40{…}` is the beginning, `44{…}` a refusal; `42["message","…"]` has a message as a string, or as JSON.
pub(super) fn hear(text: &[u8]) -> Option<Heard<'_>> {
    match text {
        b"2" => Some(Heard::Answer("3")),
        [b'4', b'0', ..] => Some(Heard::Ready),
        [b'4', b'4', said @ ..] => Some(Heard::Refused(String::from_utf8_lossy(said))),
        [b'4', b'2', event @ ..] => {
            let (_, payload): (&str, &serde_json::value::RawValue) = serde_json::from_slice(event).ok()?;
            let payload = payload.get();
            match serde_json::from_str::<String>(payload) {
                Ok(text) => Some(Heard::Message(Cow::Owned(text.into_bytes()))),
                Err(_) => Some(Heard::Message(Cow::Borrowed(payload.as_bytes()))),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart() {
        let token = SecretString::from("t");
        assert_eq!(login(None, &token), None);
        assert_eq!(login(Some(br#"0{"sid":"a"}"#), &token).as_deref(), Some(r#"40{"token":"t"}"#));
        assert_eq!(hear(b"2"), Some(Heard::Answer("3")));
        assert_eq!(hear(br#"40{"sid":"b"}"#), Some(Heard::Ready));
        assert!(matches!(hear(br#"44{"message":"no"}"#), Some(Heard::Refused(_))));
        let message = |text: &'static [u8]| Some(Heard::Message(Cow::Borrowed(text)));
        assert_eq!(hear(br#"42["message","{\"n\":1}"]"#), message(br#"{"n":1}"#));
        assert_eq!(hear(br#"42["message",{"n":1}]"#), message(br#"{"n":1}"#));
        assert_eq!(hear(br#"42["message"]"#), None);
    }

    #[test]
    fn the_query_is_added_once() {
        assert_eq!(path("/socket.io/"), "/socket.io/?EIO=4&transport=websocket");
        assert_eq!(path("/s/?a=b"), "/s/?a=b&EIO=4&transport=websocket");
        assert_eq!(path("/s/?EIO=4"), "/s/?EIO=4");
    }
}
