//! A client that reads too slowly is closed with 4002 and resumes without loss; with `drop_oldest` it is not even closed.

use std::ops::Range;

use serde_json::{Value, json};

use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::{LOCAL, eventually};
use crate::v1::V1;

/// More than the kernel's buffers hold between two sockets of this machine.
const MESSAGES: usize = 400;

async fn publish(service: &Service, numbers: Range<usize>) {
    let filler = "x".repeat(60_000);
    for n in numbers {
        let answer = service.publish("ann", &json!({ "n": n, "filler": filler }).to_string()).await;
        assert_eq!(answer.status, 202);
    }
}

/// Reads messages until the connection ends or all are there; keeps the id of the last.
async fn read(client: &mut V1, seen: &mut Vec<u64>, last: &mut String) -> Option<u16> {
    while seen.len() < MESSAGES {
        match client.next().await {
            Ok(frame) if frame["type"] == "message" => {
                seen.push(frame["data"]["n"].as_u64().expect("a number"));
                frame["id"].as_str().expect("an id").clone_into(last);
            }
            Ok(frame) => panic!("{frame}"),
            Err(closed) => return Some(closed.code),
        }
    }
    None
}

#[tokio::test]
async fn a_slow_consumer_resumes_from_history_after_its_close() {
    let redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[("HISTORY_SIZE", "1000")]).await;
    let mut client = V1::connect(&service, "ann", None).await;
    let (mut seen, mut last) = (Vec::new(), client.cursor());
    // From then on it has five seconds to read as far as its close, whatever is still published.
    let cut_off = "websocket_messages_failed_total{error_type=\"outbox_full\"}";
    let mut published = 0;
    while service.metric(cut_off).await < 1.0 {
        assert!(published < MESSAGES, "never cut off");
        publish(&service, published..published + 20).await;
        published += 20;
    }
    let rest = publish(&service, published..MESSAGES);
    let (closed, ()) = tokio::join!(read(&mut client, &mut seen, &mut last), rest);
    assert_eq!(closed, Some(4002));
    assert!(seen.len() < MESSAGES, "it was closed before it had everything");
    let mut back = V1::connect(&service, "ann", Some(&last)).await;
    assert_eq!(back.hello["resumed"], true);
    assert_eq!(read(&mut back, &mut seen, &mut last).await, None);
    assert_eq!(seen, (0..MESSAGES as u64).collect::<Vec<_>>(), "each once, in order");
}

#[tokio::test]
async fn with_drop_oldest_it_catches_up_on_the_same_connection() {
    let redis = RedisServer::start().await;
    let settings = [("HISTORY_SIZE", "1000"), ("OUTBOX_POLICY", "drop_oldest")];
    let service = Service::start_on(&redis.url(), &settings).await;
    let mut client = V1::connect(&service, "ann", None).await;
    let (mut seen, mut last) = (Vec::new(), client.cursor());
    publish(&service, 0..MESSAGES).await;
    assert_eq!(read(&mut client, &mut seen, &mut last).await, None);
    assert_eq!(seen, (0..MESSAGES as u64).collect::<Vec<_>>(), "each once, in order");
    let dropped = "websocket_messages_failed_total{error_type=\"dropped_oldest\"}";
    assert!(service.metric(dropped).await.abs() < f64::EPSILON);
    eventually("the outbox is empty again", LOCAL, async || {
        service.metric("websocket_outbox_bytes").await.abs() < f64::EPSILON
    })
    .await;
    let status: Value = service.admin_json("/status").await;
    assert_eq!(status["connections"], 1);
}
