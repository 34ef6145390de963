//! What ends a connection although its client breaks no protocol: silence, haste, slowness.

use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::Message;

use crate::support::raw::{PING, Raw, TEXT, frame};
use crate::support::schema::check_close;
use crate::support::service::{Service, token};
use crate::support::{LOCAL, eventually, within};

const HEARTBEAT: [(&str, &str); 2] =
    [("WEBSOCKET_HEARTBEAT_INTERVAL", "0.05"), ("WEBSOCKET_CONNECTION_TIMEOUT", "0.4")];

#[tokio::test]
async fn a_client_without_a_sign_of_life_is_closed() {
    let service = Service::start(&HEARTBEAT).await;
    let query = format!("?token={}", token("ann"));
    let mut client = Raw::open(service.public(), &query, &[]).await.expect("upgraded");
    assert_eq!(client.frame().await, Some((PING, Vec::new())), "it is asked first");
    check_close(&client.closed().await, 4001, "TIMEOUT");
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let service = Service::start(&HEARTBEAT).await;
    let mut client = service.connect("ann").await;
    // Twenty pings, at least 40 ms apart, take twice the timeout.
    let mut pings = 0;
    while pings < 20 {
        let frame = within("a ping", LOCAL, client.socket.next()).await.expect("open").expect("a frame");
        pings += usize::from(matches!(frame, Message::Ping(_)));
    }
    service.publish("ann", "still here").await;
    assert_eq!(client.text().await, "still here");
}

#[tokio::test]
async fn texts_are_signs_of_life_too() {
    let service = Service::start(&HEARTBEAT).await;
    let query = format!("?token={}", token("ann"));
    let mut client = Raw::open(service.public(), &query, &[]).await.expect("upgraded");
    // No pong ever: each ping is answered with a text.
    for _ in 0..20 {
        while client.frame().await.expect("open").0 != PING {}
        client.send(&frame(TEXT, b"here")).await;
    }
    client.send(&frame(TEXT, b"last")).await;
    while client.answer_frame().await.expect("open").1 != b"Echo: last" {}
}

#[tokio::test]
async fn a_client_that_sends_too_fast_is_closed() {
    let service = Service::start(&[("CLIENT_MESSAGES_PER_SECOND", "5")]).await;
    for flood in [frame(TEXT, b"x"), frame(PING, b"x"), frame(0x8A, b"x")] {
        let query = format!("?token={}", token("ann"));
        let mut client = Raw::open(service.public(), &query, &[]).await.expect("upgraded");
        client.send(&flood.repeat(1_000)).await;
        check_close(&client.closed().await, 4003, "RATE_LIMIT");
    }
    let unlimited = Service::start(&[("CLIENT_MESSAGES_PER_SECOND", "0")]).await;
    let query = format!("?token={}", token("ann"));
    let mut client = Raw::open(unlimited.public(), &query, &[]).await.expect("upgraded");
    client.send(&frame(TEXT, b"x").repeat(500)).await;
    for _ in 0..500 {
        assert_eq!(client.answer_frame().await, Some((TEXT, b"Echo: x".to_vec())));
    }
}

#[tokio::test]
async fn a_slow_consumer_is_closed() {
    let service = Service::start(&[("OUTBOX_BYTES", "65536")]).await;
    let slow = service.connect("ann").await;
    let mut other = service.connect("bob").await;
    let failed = "websocket_messages_failed_total{error_type=\"outbox_full\"}";
    let payload = "x".repeat(60_000);
    while service.metric(failed).await == 0.0 {
        assert_eq!(
            service.publish("ann", &payload).await.status,
            202,
            "a slow client is not its publisher's fault"
        );
    }
    service.publish("bob", "not for the slow").await;
    assert_eq!(other.text().await, "not for the slow");
    check_close(&slow.closed().await, 4002, "CONNECTION_ERROR");
    eventually("counted", LOCAL, async || {
        service.metric("websocket_closes_total{code=\"4002\"}").await == 1.0
    })
    .await;
    assert_eq!(service.metric("websocket_outbox_bytes").await, 0.0, "nothing is left of its queue");
}

#[tokio::test]
async fn or_loses_its_oldest_messages_where_that_is_configured() {
    let service = Service::start(&[("OUTBOX_BYTES", "131072"), ("OUTBOX_POLICY", "drop_oldest")]).await;
    let mut slow = service.connect("ann").await;
    let dropped = "websocket_messages_failed_total{error_type=\"dropped_oldest\"}";
    let filling = "x".repeat(60_000);
    let mut published = 0_u64;
    while service.metric(dropped).await < 5.0 {
        assert_eq!(service.publish("ann", &format!("{published} {filling}")).await.status, 202);
        published += 1;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&(published - 1)) {
        let text = slow.text().await;
        seen.push(text.split(' ').next().expect("a number").parse::<u64>().expect("a number"));
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "in order: {seen:?}");
    let lost = published - seen.len() as u64;
    assert_eq!(service.metric(dropped).await, lost as f64, "what did not arrive is counted");
    slow.send(Message::text("alive")).await;
    assert_eq!(slow.text().await, "Echo: alive");
    assert_eq!(service.metric("websocket_outbox_bytes").await, 0.0);
}
