//! Connecting and talking in plain mode, on the in-process backplane.

use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::service::{Service, token};

#[tokio::test]
async fn a_published_message_reaches_every_connection_of_its_user_only() {
    let service = Service::start(&[]).await;
    let (mut first, mut second) = (service.connect("a").await, service.connect("a").await);
    let mut other = service.connect("b").await;
    let answer = service.publish("a", r#"{"type":"notification"}"#).await;
    assert_eq!((answer.status, answer.json()["subscribers"].as_u64()), (202, Some(1)));
    assert_eq!(first.text().await, r#"{"type":"notification"}"#);
    assert_eq!(second.text().await, r#"{"type":"notification"}"#);
    service.publish("b", "for b").await;
    assert_eq!(other.text().await, "for b", "nothing came before it");
}

#[tokio::test]
async fn a_text_is_echoed() {
    let service = Service::start(&[]).await;
    let mut client = service.connect("a").await;
    client.send(Message::text("hello")).await;
    assert_eq!(client.text().await, "Echo: hello");
}

#[tokio::test]
async fn a_refused_token_is_told_by_close_frame_or_by_status() {
    let service = Service::start(&[]).await;
    let closed = Client::connect(&service.url("?token=nonsense")).await.expect("upgraded").closed().await;
    assert_eq!((closed.code, closed.field("error_code").as_str()), (1008, "AUTHENTICATION_ERROR"));

    let service = Service::start(&[("REJECT_WITH", "http")]).await;
    let answer = Client::connect(&service.url("")).await.err().expect("refused");
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "AUTHENTICATION_ERROR"));
    let good = Client::connect(&service.url(&format!("?token={}", token("a")))).await;
    assert!(good.is_ok());
}
