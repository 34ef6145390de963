//! `websocket-service.v1`, as far as a connection needs it that resumes nothing; the reference client knows the rest.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Heard;

/// The subprotocol's name.
pub(super) const PROTOCOL: &str = "websocket-service.v1";

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

/// `hello` is the beginning; messages come in `data` or `text`.
pub(super) fn hear(text: &[u8]) -> Option<Heard<'_>> {
    let frame: Frame<'_> = serde_json::from_slice(text).ok()?;
    match (&*frame.kind, frame.data, frame.text) {
        ("hello", ..) => Some(Heard::Ready),
        ("message", Some(data), _) => Some(Heard::Message(Cow::Borrowed(data.get().as_bytes()))),
        ("message", None, Some(Cow::Borrowed(text))) => Some(Heard::Message(text.as_bytes().into())),
        ("message", None, Some(Cow::Owned(text))) => Some(Heard::Message(text.into_bytes().into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        assert_eq!(hear(br#"{"type":"hello","cursor":null}"#), Some(Heard::Ready));
        let message = |text: &'static [u8]| Some(Heard::Message(Cow::Borrowed(text)));
        assert_eq!(hear(br#"{"type":"message","id":"1-0","data":{"n": 1}}"#), message(br#"{"n": 1}"#));
        assert_eq!(hear(br#"{"type":"message","text":"a\"b"}"#), message(b"a\"b"));
        assert_eq!(hear(br#"{"type":"reconnect","after_ms":1}"#), None);
    }
}
