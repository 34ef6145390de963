//! Talking in plain mode: what is published arrives as it is, and what a client sends is answered by the rules.

use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::raw::{self, CLOSE, LAST_FRAGMENT, PING, PONG, Raw, TEXT, TEXT_START, frame};
use crate::support::schema::check_close;
use crate::support::service::{Service, token};
use crate::support::{LOCAL, within};

async fn raw(service: &Service) -> Raw {
    let query = format!("?token={}", token("ann"));
    Raw::open(service.public(), &query, &[]).await.expect("upgraded")
}

#[tokio::test]
async fn payloads_arrive_byte_for_byte() {
    let service = Service::start(&[]).await;
    let mut client = service.connect("ann").await;
    let largest = "ü".repeat(32 * 1024);
    assert_eq!(largest.len(), 64 * 1024);
    for payload in [
        "x",
        " ",
        "\"",
        "null",
        r#"{"b" : 1.0,  "a":"\u00e9", "a": 2}"#,
        "größe 你好 👩\u{200d}🚀 e\u{301}",
        "two\nlines\r\nand\ttabs\u{0}and a NUL",
        "{\"cut\":",
        "Echo: not one",
        &largest,
    ] {
        assert_eq!(service.publish("ann", payload).await.status, 202);
        assert_eq!(client.text().await, payload);
    }
}

#[tokio::test]
async fn messages_arrive_in_the_order_of_publishing() {
    let service = Service::start(&[("BATCH_LINGER_MS", "20"), ("BATCH_MAX_MESSAGES", "7")]).await;
    let mut client = service.connect("ann").await;
    for number in 0..100 {
        service.publish("ann", &number.to_string()).await;
    }
    for number in 0..100 {
        assert_eq!(client.text().await, number.to_string());
    }
}

#[tokio::test]
async fn a_text_is_echoed_unless_that_is_switched_off() {
    let service = Service::start(&[]).await;
    let mut client = service.connect("ann").await;
    for text in ["", "hello", "größe \"quoted\"\n", &"x".repeat(65_536)] {
        client.send(Message::text(text)).await;
        assert_eq!(client.text().await, format!("Echo: {text}"));
    }
    let silent = Service::start(&[("ECHO", "false")]).await;
    let mut client = silent.connect("ann").await;
    client.send(Message::text("hello")).await;
    client.send(Message::Ping("after it".into())).await;
    let answer = within("a pong", LOCAL, client.socket.next()).await.expect("open").expect("a frame");
    assert_eq!(answer, Message::Pong("after it".into()), "the text before it was passed over");
    silent.publish("ann", "published").await;
    assert_eq!(client.text().await, "published");
}

#[tokio::test]
async fn binary_and_large_messages_end_the_connection() {
    let service = Service::start(&[]).await;
    let mut client = service.connect("ann").await;
    client.send(Message::binary(vec![1, 2, 3])).await;
    check_close(&client.closed().await, 1003, "VALIDATION_ERROR");

    let service = Service::start(&[("MAX_MESSAGE_BYTES", "100")]).await;
    let mut client = service.connect("ann").await;
    client.send(Message::text("x".repeat(100))).await;
    assert_eq!(client.text().await.len(), 106);
    client.send(Message::text("x".repeat(101))).await;
    check_close(&client.closed().await, 1009, "VALIDATION_ERROR");
    let answer = service.publish("ann", &"x".repeat(101)).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (413, "VALIDATION_ERROR"));
}

#[tokio::test]
async fn the_reason_reaches_a_client_that_is_still_sending() {
    let service = Service::start(&[]).await;
    let mut client = raw(&service).await;
    // Far more than sockets hold: a server that stopped reading here would reset the connection, and its close frame
    // could be lost.
    client.send(&frame(TEXT, &vec![b'x'; 32 << 20])).await;
    check_close(&client.closed().await, 1009, "VALIDATION_ERROR");
}

#[tokio::test]
async fn a_text_may_come_in_fragments_with_control_frames_between() {
    let service = Service::start(&[]).await;
    let mut client = raw(&service).await;
    // Cut within the ü.
    client.send(&frame(TEXT_START, b"gr\xc3")).await;
    client.send(&frame(PING, b"between")).await;
    client.send(&frame(0x00, b"\xbc")).await;
    client.send(&frame(LAST_FRAGMENT, b"n")).await;
    assert_eq!(client.answer_frame().await, Some((PONG, b"between".to_vec())));
    assert_eq!(client.answer_frame().await, Some((TEXT, "Echo: grün".as_bytes().to_vec())));
}

#[tokio::test]
async fn frames_may_follow_the_request_in_one_packet() {
    let service = Service::start(&[]).await;
    let head = raw::head(&format!("?token={}", token("ann")), &[]);
    let bytes = [head, frame(TEXT, b"early")].concat();
    let mut client = Raw::exchange(service.public(), &bytes).await.expect("upgraded");
    assert_eq!(client.answer_frame().await, Some((TEXT, b"Echo: early".to_vec())));
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let service = Service::start(&[]).await;
    let mut client = raw(&service).await;
    for payload in [&b""[..], b"hello", &[0xff; 125]] {
        client.send(&frame(PING, payload)).await;
        assert_eq!(client.answer_frame().await, Some((PONG, payload.to_vec())));
    }
    // An unasked pong is nothing.
    client.send(&frame(PONG, b"unasked")).await;
    client.send(&frame(TEXT, b"hello")).await;
    assert_eq!(client.answer_frame().await, Some((TEXT, b"Echo: hello".to_vec())));
}

#[tokio::test]
async fn a_client_that_closes_is_answered_with_its_code() {
    let service = Service::start(&[]).await;
    for payload in [&1000_u16.to_be_bytes()[..], &[]] {
        let mut client = raw(&service).await;
        client.send(&frame(CLOSE, payload)).await;
        assert_eq!(client.answer_frame().await, Some((CLOSE, payload.to_vec())));
        assert_eq!(client.answer_frame().await, None, "then the server closes the stream");
    }
    let mut client: Client = service.connect("ann").await;
    client.socket.close(None).await.expect("sent");
    assert!(within("the end", LOCAL, client.socket.next()).await.is_some_and(|end| end.is_ok()));
}
