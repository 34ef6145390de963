//! The metrics, as a scraper sees them move.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::http;
use crate::support::service::{Service, token};
use crate::support::tokens::signed;
use crate::support::{LOCAL, eventually};

/// Waits until a series has a value: sessions end a moment after their clients see it.
async fn becomes(service: &Service, series: &str, value: f64) {
    let what = format!("{series} becomes {value}");
    eventually(&what, LOCAL, async || service.metric(series).await == value).await;
}

fn connections(status: &str) -> String {
    format!("websocket_connections_total{{status=\"{status}\"}}")
}

fn closes(code: u16) -> String {
    format!("websocket_closes_total{{code=\"{code}\"}}")
}

#[tokio::test]
async fn connections_are_counted_in_and_out() {
    let service = Service::start(&[]).await;
    let (first, second) = (service.connect("ann").await, service.connect("bob").await);
    becomes(&service, "websocket_active_connections", 2.0).await;
    becomes(&service, &connections("accepted"), 2.0).await;
    assert_eq!(service.metric(&connections("closed")).await, 0.0);

    let mut first = first;
    first.socket.close(None).await.expect("sent");
    assert_eq!(first.closed().await.code, 1000 + 5, "a close without a code");
    becomes(&service, &closes(1000), 1.0).await;
    // Gone without a word.
    drop(second);
    becomes(&service, &closes(1006), 1.0).await;
    becomes(&service, "websocket_active_connections", 0.0).await;
    becomes(&service, &connections("closed"), 2.0).await;
    becomes(&service, "websocket_connection_duration_seconds_count", 2.0).await;
    assert_eq!(service.metric(&connections("rejected")).await, 0.0);
}

#[tokio::test]
async fn what_was_refused_is_rejected_and_never_closed() {
    let service = Service::start(&[("MAX_CONNECTIONS_PER_USER", "1"), ("MAX_CONNECTIONS", "2")]).await;
    let _ann = service.connect("ann").await;
    // A token, a user's limit, an origin, a full pod.
    Client::connect(&service.url("?token=nonsense")).await.expect("upgraded").closed().await;
    becomes(&service, &connections("rejected"), 1.0).await;
    // A refused client has its place until its close is answered.
    let limited = eventually_upgraded(&service, "ann").await;
    limited.closed().await;
    becomes(&service, &connections("rejected"), 2.0).await;
    let url = service.url(&format!("?token={}", token("bob")));
    assert!(Client::connect_with(&url, &[("origin", "https://evil.example")]).await.is_err());
    becomes(&service, &connections("rejected"), 3.0).await;
    assert_eq!(service.metric(&connections("accepted")).await, 1.0);
    assert_eq!(service.metric(&connections("closed")).await, 0.0);
    assert_eq!(service.metric("websocket_active_connections").await, 1.0);
    assert_eq!(service.metric(&closes(1008)).await, 0.0, "closes count what was accepted");
    assert_eq!(service.metric("websocket_connection_duration_seconds_count").await, 0.0);
}

/// Connects as soon as there is a place; refusals for want of one are not what the test counts.
async fn eventually_upgraded(service: &Service, user: &str) -> Client {
    let mut client = None;
    eventually("a place", LOCAL, async || {
        service.admin_json("/status").await["connections"] == 1 && {
            client = Client::connect(&service.url(&format!("?token={}", token(user)))).await.ok();
            client.is_some()
        }
    })
    .await;
    client.expect("upgraded")
}

#[tokio::test]
async fn only_published_messages_count_as_sent() {
    let service = Service::start(&[]).await;
    let (mut first, mut second) = (service.connect("ann").await, service.connect("ann").await);
    first.send(Message::text("echo me")).await;
    assert_eq!(first.text().await, "Echo: echo me");
    assert_eq!(service.metric("websocket_messages_sent_total").await, 0.0, "an echo is the service's own");
    service.publish("ann", "hello").await;
    service.publish("nobody", "hello").await;
    assert_eq!((first.text().await, second.text().await), ("hello".to_owned(), "hello".to_owned()));
    becomes(&service, "websocket_messages_sent_total", 2.0).await;
    assert_eq!(service.metric("websocket_delivery_latency_seconds_count").await, 2.0);
    assert_eq!(service.metric("websocket_message_size_bytes_sum").await, 5.0, "once a message that arrived");
    assert_eq!(service.metric("websocket_outbox_bytes").await, 0.0);
}

#[tokio::test]
async fn messages_lost_with_their_connection_are_counted() {
    let service = Service::start(&[("OUTBOX_BYTES", "16MiB")]).await;
    let client = service.connect("ann").await;
    let payload = "x".repeat(60_000);
    let mut published = 0.0;
    while service.metrics.outbox_bytes.get() < 300_000 {
        assert_eq!(service.publish("ann", &payload).await.status, 202);
        published += 1.0;
    }
    drop(client);
    becomes(&service, &closes(1006), 1.0).await;
    let lost = service.metric("websocket_messages_failed_total{error_type=\"connection_lost\"}").await;
    assert!(lost >= 5.0, "{lost} lost");
    assert_eq!(service.metric("websocket_messages_sent_total").await, published - lost);
    assert_eq!(service.metric("websocket_outbox_bytes").await, 0.0);
}

#[tokio::test]
async fn tokens_are_counted_by_result() {
    let service = Service::start(&[]).await;
    let _good = service.connect("ann").await;
    let expired = signed(&json!({ "sub": "ann", "exp": 1_000_000_000 }));
    for query in [format!("?token={expired}"), "?token=nonsense".to_owned(), String::new()] {
        Client::connect(&service.url(&query)).await.expect("upgraded").closed().await;
    }
    for (result, count) in [("success", 1.0), ("expired", 1.0), ("invalid", 2.0)] {
        becomes(&service, &format!("jwt_validation_total{{result=\"{result}\"}}"), count).await;
    }
    assert_eq!(service.metric("websocket_backplane_up").await, 1.0);
}

#[tokio::test]
async fn a_client_that_never_takes_its_upgrade_leaves_nothing_behind() {
    let service = Service::start(&[]).await;
    for _ in 0..20 {
        let head = crate::support::raw::head(&format!("?token={}", token("ann")), &[]);
        let mut stream = tokio::net::TcpStream::connect(service.public()).await.expect("connected");
        tokio::io::AsyncWriteExt::write_all(&mut stream, &head).await.expect("written");
    }
    eventually("all are gone", LOCAL, async || {
        let status = service.admin_json("/status").await;
        status["connections"] == 0 && status["users"] == 0
    })
    .await;
    let _client = service.connect("ann").await;
}

#[tokio::test]
async fn nothing_a_stranger_does_makes_a_series_or_shows_in_a_label() {
    let service = Service::start(&[]).await;
    let before = series(&service).await;
    let mut client = service.connect("a-very-particular-user").await;
    service.publish("a-very-particular-user", "x").await;
    client.text().await;
    client.send(Message::binary(vec![0])).await;
    client.closed().await;
    becomes(&service, &closes(1003), 1.0).await;
    for user in 0..20 {
        service.connect(&format!("particular-{user}")).await.socket.close(None).await.expect("sent");
    }
    Client::connect(&service.url("?token=particular")).await.expect("upgraded").closed().await;
    http::request(
        service.public(),
        "PARTICULAR",
        "/particular",
        &[("origin", "https://particular.example")],
        b"",
    )
    .await;
    http::request(
        service.public(),
        "POST",
        "/v1/users/particular/messages",
        &[("authorization", "Bearer particular")],
        b"{}",
    )
    .await;
    becomes(&service, "jwt_validation_total{result=\"invalid\"}", 1.0).await;
    assert_eq!(series(&service).await, before);
    assert!(!before.contains("127.0.0.1") && before.lines().count() < 300, "{before}");
}

/// Each series' name and labels, a line each.
async fn series(service: &Service) -> String {
    let answer = http::request(service.admin(), "GET", "/metrics", &[], b"").await;
    let text = String::from_utf8(answer.body).expect("text");
    let names = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    names.map(|(name, _)| format!("{name}\n")).collect()
}
