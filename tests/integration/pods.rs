//! Two pods on one Redis: whatever way a message takes, it reaches all of its user's connections.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::client::Client;
use crate::support::http;
use crate::support::redis::RedisServer;
use crate::support::service::{Service, bearer};
use crate::support::{LOCAL, eventually};

struct Fleet {
    redis: RedisServer,
    pods: [Service; 2],
}

impl Fleet {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let pods = [Service::start_on(&redis.url(), &[]).await, Service::start_on(&redis.url(), &[]).await];
        Self { redis, pods }
    }

    /// A connection of the user on each pod.
    async fn connect(&self, user: &str) -> Vec<Client> {
        join_all(self.pods.iter().map(|pod| pod.connect(user))).await
    }
}

async fn all_receive(clients: &mut [Client], text: &str) {
    for client in clients {
        assert_eq!(client.text().await, text);
    }
}

#[tokio::test]
async fn every_way_to_publish_reaches_the_user_on_both() {
    let fleet = Fleet::start().await;
    let [a, b] = &fleet.pods;
    let mut clients = fleet.connect("ann").await;
    clients.push(a.connect("ann").await);
    let mut bob = b.connect("bob").await;

    assert_eq!(fleet.redis.publish("ann", b"bare").await, 2, "pods, not connections");
    all_receive(&mut clients, "bare").await;
    for (pod, text) in [(a, "through the first"), (b, "through the second")] {
        let answer = pod.publish("ann", text).await;
        assert_eq!((answer.status, &answer.json()["subscribers"]), (202, &json!(2)));
        all_receive(&mut clients, text).await;
    }
    let batch =
        br#"[{"user_id":"ann","data":{"n": 1}},{"user_id":"bob","data":2},{"user_id":"nobody","data":3}]"#;
    let answer =
        http::request(a.public(), "POST", "/v1/messages", &[("authorization", &bearer())], batch).await;
    let subscribers: Vec<_> =
        answer.json().as_array().expect("a list").iter().map(|m| m["subscribers"].clone()).collect();
    assert_eq!((answer.status, subscribers), (202, vec![json!(2), json!(1), json!(0)]));
    all_receive(&mut clients, r#"{"n": 1}"#).await;
    assert_eq!(bob.text().await, "2", "and nothing of ann's before it");
}

#[tokio::test]
async fn what_cannot_be_sent_is_counted_and_dropped_and_nobody_is_closed() {
    let fleet = Fleet::start().await;
    let mut clients = fleet.connect("ann").await;
    let longest = "x".repeat(65_536);
    for payload in
        [&b"\xff\xfe"[..], b"{\"cut\":\"\xc3", format!("{longest}x").as_bytes(), longest.as_bytes(), b""]
    {
        assert_eq!(fleet.redis.publish("ann", payload).await, 2);
    }
    all_receive(&mut clients, &longest).await;
    all_receive(&mut clients, "").await;
    for pod in &fleet.pods {
        let failed = async |why: &str| {
            pod.metric(&format!("websocket_messages_failed_total{{error_type=\"{why}\"}}")).await
        };
        assert_eq!((failed("not_utf8").await, failed("too_large").await), (2.0, 1.0));
        assert_eq!(pod.metric("websocket_active_connections").await, 1.0);
        // The counter follows the write, which the client may see first.
        eventually("both are counted as sent", LOCAL, async || {
            pod.metric("websocket_messages_sent_total").await == 2.0
        })
        .await;
    }
}

#[tokio::test]
async fn ids_are_carried_as_they_are_by_every_way() {
    let longest = "ü".repeat(128);
    let ids = [
        "two words",
        "a:b:c",
        "{tag}",
        "{",
        "a}b{c",
        "größe-名前-🦀",
        "line\nbreak\r\n",
        "tab\t",
        "*",
        "a?b[c]",
        "%41",
        "../..",
        "a/b",
        "quote'\"\\",
        "\u{0}",
        " ",
        "ws:ann",
        &longest,
    ];
    let fleet = Fleet::start().await;
    let key = bearer();
    let mut all: Vec<_> = join_all(ids.iter().map(|id| fleet.connect(id))).await;
    for (number, (id, clients)) in ids.iter().zip(&mut all).enumerate() {
        let text = format!("bare {number}");
        assert_eq!(fleet.redis.publish(id, text.as_bytes()).await, 2, "{id:?}");
        all_receive(clients, &text).await;
        let text = format!("http {number}");
        let answer = fleet.pods[number % 2].publish(id, &text).await;
        assert_eq!((answer.status, answer.json()["subscribers"].as_u64()), (202, Some(2)), "{id:?}");
        all_receive(clients, &text).await;
        let batch = json!([{ "user_id": id, "data": number }]).to_string();
        let (address, headers) = (fleet.pods[0].public(), [("authorization", key.as_str())]);
        let answer = http::request(address, "POST", "/v1/messages", &headers, batch.as_bytes()).await;
        assert_eq!(answer.status, 202, "{id:?}");
        all_receive(clients, &number.to_string()).await;
    }
}

#[tokio::test]
async fn a_channel_is_left_with_the_users_last_connection() {
    let fleet = Fleet::start().await;
    let [a, b] = &fleet.pods;
    let (first, second, other) = (a.connect("ann").await, a.connect("ann").await, b.connect("ann").await);
    drop(first);
    eventually("the first has left", LOCAL, async || a.metric("websocket_active_connections").await == 1.0)
        .await;
    assert_eq!(fleet.redis.publish("ann", b"still two").await, 2);
    drop(second);
    eventually("one pod is left", LOCAL, async || fleet.redis.subscribers("ws:ann").await == 1).await;
    drop(other);
    eventually("none is left", LOCAL, async || fleet.redis.subscribers("ws:ann").await == 0).await;
}
