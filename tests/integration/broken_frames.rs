//! Clients that break the WebSocket protocol, byte by byte.

use crate::support::raw::{BINARY, CLOSE, LAST_FRAGMENT, PING, Raw, TEXT, TEXT_START, frame, header};
use crate::support::schema::check_close;
use crate::support::service::{Service, token};
use crate::support::{LOCAL, eventually};

/// Sends bytes over a fresh connection each, and checks the code and reason it ends with.
async fn all_end_with(service: &Service, code: u16, error_code: &str, cases: &[(&str, Vec<u8>)]) {
    for (what, bytes) in cases {
        let query = format!("?token={}", token("ann"));
        let mut client = Raw::open(service.public(), &query, &[]).await.expect("upgraded");
        client.send(bytes).await;
        let closed = client.closed().await;
        assert_eq!(closed.code, code, "{what}: {closed:?}");
        check_close(&closed, code, error_code);
    }
    let series = format!("websocket_closes_total{{code=\"{code}\"}}");
    eventually("every end is counted", LOCAL, async || service.metric(&series).await == cases.len() as f64)
        .await;
    // Nothing of it hurts others.
    let mut other = service.connect("bob").await;
    service.publish("bob", "hello").await;
    assert_eq!(other.text().await, "hello");
}

#[tokio::test]
async fn a_broken_protocol_ends_with_1002() {
    let service = Service::start(&[]).await;
    let cases = [
        ("an unmasked frame", vec![TEXT, 1, b'a']),
        ("a reserved bit", frame(TEXT | 0x40, b"a")),
        ("a reserved opcode", frame(0x83, b"a")),
        ("a reserved control opcode", frame(0x8B, b"a")),
        ("a fragmented ping", frame(0x09, b"a")),
        ("a long ping", frame(PING, &[0; 126])),
        ("a continuation of nothing", frame(LAST_FRAGMENT, b"a")),
        ("a text within a text", [frame(TEXT_START, b"a"), frame(TEXT, b"b")].concat()),
        ("a close frame with half a code", frame(CLOSE, &[3])),
    ];
    all_end_with(&service, 1002, "INVALID_REQUEST", &cases).await;
}

#[tokio::test]
async fn a_close_code_that_may_not_be_sent_is_a_protocol_error() {
    let service = Service::start(&[]).await;
    for code in [0_u16, 999, 1005, 1006, 2000, 65_535] {
        let query = format!("?token={}", token("ann"));
        let mut client = Raw::open(service.public(), &query, &[]).await.expect("upgraded");
        client.send(&frame(CLOSE, &code.to_be_bytes())).await;
        assert_eq!(client.closed().await.code, 1002, "{code}");
    }
}

#[tokio::test]
async fn text_that_is_no_utf8_ends_with_1007() {
    let service = Service::start(&[]).await;
    let cases = [
        ("a lone byte", frame(TEXT, &[0xff])),
        ("a surrogate", frame(TEXT, &[0xed, 0xa0, 0x80])),
        ("a character cut short", frame(TEXT, &[b'a', 0xc3])),
        (
            "a character whose second half is missing in the next fragment",
            [frame(TEXT_START, &[0xc3]), frame(LAST_FRAGMENT, b"a")].concat(),
        ),
    ];
    all_end_with(&service, 1007, "VALIDATION_ERROR", &cases).await;
}

#[tokio::test]
async fn more_than_the_limit_ends_with_1009() {
    let service = Service::start(&[("MAX_MESSAGE_BYTES", "1000")]).await;
    let cases = [
        ("one byte more", frame(TEXT, &[b'x'; 1001])),
        ("a binary message", frame(BINARY, &[0; 1001])),
        ("fragments", [frame(TEXT_START, &[b'x'; 600]), frame(LAST_FRAGMENT, &[b'x'; 600])].concat()),
        // Refused by its header: nobody waits for the rest, nor makes room for it.
        ("a promise of a tebibyte", header(TEXT, 1 << 40)),
        ("a promise of more than there is", header(TEXT, u64::MAX >> 1)),
    ];
    all_end_with(&service, 1009, "VALIDATION_ERROR", &cases).await;
}

#[tokio::test]
async fn endless_fragments_end_at_the_limit() {
    let service = Service::start(&[("MAX_MESSAGE_BYTES", "1000"), ("CLIENT_MESSAGES_PER_SECOND", "0")]).await;
    let query = format!("?token={}", token("ann"));
    let mut client = Raw::open(service.public(), &query, &[]).await.expect("upgraded");
    client.send(&frame(TEXT_START, b"x")).await;
    client.send(&frame(0x00, b"x").repeat(1000)).await;
    check_close(&client.closed().await, 1009, "VALIDATION_ERROR");
}
