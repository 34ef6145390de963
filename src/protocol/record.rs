//! How a message with history travels on its user's channel of messages: `<id> 0x1E <payload>`, or
//! `<id> SP <traceparent> 0x1E <payload>` where the publisher named a trace.

use std::fmt;

use bytes::Bytes;

use super::event_id::{EventId, MAX_EVENT_ID_BYTES};

/// Between the head of a record and its payload: ASCII's record separator.
pub const RECORD_SEPARATOR: u8 = 0x1E;

/// Bytes of a W3C `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;

/// Longest head of a record, in bytes: an id, a space and a `traceparent`.
const MAX_HEAD_BYTES: usize = MAX_EVENT_ID_BYTES + 1 + TRACEPARENT_BYTES;

/// The trace that a message belongs to: the W3C header `traceparent` of version 00, 55 bytes of lower-case ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traceparent(Box<str>);

impl Traceparent {
    /// Takes over a header's value; `None` for what is none, which the standard says to ignore.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lengths = [2, 32, 16, 2];
        let mut parts = text.split('-');
        let shaped = lengths.into_iter().all(|length| {
            parts.next().is_some_and(|part| {
                part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            })
        });
        // An id of zeros alone is no id.
        let named = |part: &str| part.bytes().any(|byte| byte != b'0');
        let good = shaped
            && parts.next().is_none()
            && text.starts_with("00-")
            && named(&text[3..35])
            && named(&text[36..52]);
        good.then(|| Self(text.into()))
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One message with its place in history. The payload is not looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub id: EventId,
    /// The publisher's trace, where it named one.
    pub traceparent: Option<Traceparent>,
    /// What was published.
    pub payload: Bytes,
}

/// What came is no record: somebody else writes to the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record: expected <id>, 0x1E and the payload")]
pub struct RecordError;

impl Record {
    /// Takes a record apart without copying its payload.
    ///
    /// # Errors
    /// [`RecordError`] when it does not begin with an id, or with something else than a `traceparent` behind it.
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let searched = &bytes[..bytes.len().min(MAX_HEAD_BYTES + 1)];
        let end = searched.iter().position(|byte| *byte == RECORD_SEPARATOR).ok_or(RecordError)?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| RecordError)?;
        let (id, traceparent) = match head.split_once(' ') {
            None => (head, None),
            Some((id, trace)) => (id, Some(Traceparent::parse(trace).ok_or(RecordError)?)),
        };
        let id = id.parse().map_err(|_| RecordError)?;
        Ok(Self { id, traceparent, payload: bytes.slice(end + 1..) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn decode(bytes: impl Into<Vec<u8>>) -> Result<Record, RecordError> {
        Record::decode(&Bytes::from(bytes.into()))
    }

    #[test]
    fn a_record_is_taken_apart() {
        let plain = decode("17-3\u{1e}{\"a\":1}").expect("a record");
        assert_eq!((plain.id.to_string().as_str(), &*plain.payload), ("17-3", b"{\"a\":1}".as_slice()));
        assert_eq!(plain.traceparent, None);
        let traced = decode(format!("17-3 {TRACE}\u{1e}")).expect("a record");
        assert_eq!(traced.traceparent.as_ref().map(Traceparent::as_str), Some(TRACE));
        assert!(traced.payload.is_empty(), "the payload is the publisher's affair");
        let again = decode("1-0\u{1e}a\u{1e}b").expect("a record");
        assert_eq!(&*again.payload, b"a\x1eb", "the first separator counts");
    }

    #[test]
    fn anything_else_is_none() {
        for bytes in
            ["", "\u{1e}", "hello", "x\u{1e}y", "1-2", "1-2 \u{1e}y", "1-2 00-x\u{1e}y", " 1-2\u{1e}y"]
        {
            assert_eq!(decode(bytes), Err(RecordError), "{bytes:?}");
        }
        assert_eq!(decode([b"1-2".as_slice(), &[b' '; 200], b"\x1e"].concat()), Err(RecordError));
        assert_eq!(decode(b"\xff\x1ex".as_slice()), Err(RecordError));
    }

    #[test]
    fn a_trace_is_the_standard_s() {
        assert!(Traceparent::parse(TRACE).is_some());
        for text in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert_eq!(Traceparent::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_surprise(bytes: Vec<u8>) {
            if let Ok(record) = decode(bytes.clone()) {
                prop_assert!(bytes.ends_with(&record.payload));
                prop_assert!(bytes.starts_with(record.id.to_string().as_bytes()));
            }
        }
    }
}
