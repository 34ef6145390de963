//! What is read and written on the way: payloads, records, frames, close reasons.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use websocket_service::protocol::frame::ClientFrame;
use websocket_service::protocol::{Close, CorrelationId, Envelope, ErrorCode, Record};

use crate::support::{CALLS, USUAL, json};

const LARGE: usize = 16 * 1024;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TOO_LONG: &str = "A message that has no room in the frame of a close, so that it has to be shortened";

/// Checking and wrapping a published payload, once for all of its connections. The bytes a second are the UTF-8 check's.
#[divan::bench(args = [USUAL, LARGE], sample_size = CALLS)]
fn envelope(bencher: Bencher<'_, '_>, bytes: usize) {
    let payload = bytes::Bytes::from(json(bytes));
    bencher
        .counter(BytesCount::new(bytes))
        .with_inputs(|| payload.clone())
        .bench_values(|payload| Envelope::new(payload, LARGE));
}

/// Taking a message with history apart, as it comes on the channel of messages; nothing of the payload is copied.
#[divan::bench(args = ["bare", "traced"], sample_size = CALLS)]
fn record(bencher: Bencher<'_, '_>, kind: &str) {
    let head = if kind == "bare" { String::new() } else { format!(" {TRACE}") };
    let bytes = bytes::Bytes::from(format!("1795376330502-17{head}\u{1e}{}", json(USUAL)));
    bencher.bench(|| Record::decode(black_box(&bytes)));
}

/// The frame of v1 mode, which is made once a message, for the first connection that asks. Much of it is seeing whether
/// the payload is JSON.
#[divan::bench(args = [USUAL, LARGE], sample_size = 100)]
fn v1_frame(bencher: Bencher<'_, '_>, bytes: usize) {
    let bytes_of_record = bytes::Bytes::from(format!("1795376330502-17\u{1e}{}", json(bytes)));
    let record = Record::decode(&bytes_of_record).expect("a record");
    bencher
        .counter(BytesCount::new(bytes))
        .with_inputs(|| Envelope::kept(record.clone(), LARGE).expect("UTF-8"))
        .bench_local_refs(|envelope| envelope.framed().clone());
}

/// The reason of a close frame: in a drain, each connection has one made. The long one is shortened until it fits.
#[divan::bench(args = ["short", "shortened"], sample_size = CALLS)]
fn close_reason(bencher: Bencher<'_, '_>, kind: &str) {
    let message = if kind == "short" { "The service restarts" } else { TOO_LONG };
    let (close, id) = (Close::of(ErrorCode::ServiceUnavailable, message), CorrelationId::random());
    bencher.bench(|| black_box(&close).reason(id));
}

/// A frame of a client in v1 mode, as good and as bad as strangers send them.
#[divan::bench(args = ["ping", "auth", "no frame"], sample_size = CALLS)]
fn client_frame(bencher: Bencher<'_, '_>, kind: &str) {
    let text = match kind {
        "ping" => r#"{"type":"ping","data":{"n":1}}"#,
        "auth" => r#"{"type":"auth","token":"a.b.c"}"#,
        _ => "hello",
    };
    bencher.bench(|| ClientFrame::read(black_box(text)));
}
