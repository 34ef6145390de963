//! What comes on a user's channel of messages, and what claims to be an id.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use websocket_service::protocol::{Envelope, EventId, RECORD_SEPARATOR, Record};

const LIMIT: usize = 1024;

fn written(record: &Record) -> Vec<u8> {
    let trace = record.traceparent.as_ref().map_or_else(String::new, |trace| format!(" {trace}"));
    [format!("{}{trace}", record.id).as_bytes(), &[RECORD_SEPARATOR], &record.payload].concat()
}

fuzz_target!(|data: (u64, u64, &[u8])| {
    let (milliseconds, sequence, bytes) = data;
    let bytes = Bytes::copy_from_slice(bytes);
    // Whatever comes: it is taken apart without loss, or refused.
    if let Ok(record) = Record::decode(&bytes) {
        assert_eq!(written(&record), bytes);
        if let Ok(envelope) = Envelope::kept(record, LIMIT) {
            assert!(envelope.framed().starts_with("{\"type\":\"message\",\"id\":\""));
        }
    }
    if let Ok(text) = std::str::from_utf8(&bytes)
        && let Ok(id) = text.parse::<EventId>()
    {
        assert_eq!(id.to_string(), text, "an id has one spelling");
    }
    // What is written is read again, whatever the payload.
    let record = Record { id: EventId { milliseconds, sequence }, traceparent: None, payload: bytes };
    assert_eq!(Record::decode(&written(&record).into()), Ok(record));
});
