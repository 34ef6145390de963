//! The subscriber link against a real Redis: what arrives, for whom, and at what cost.

use futures_util::future::join_all;
use websocket_service::backplane::{Backplane, Status};

use crate::support::backplane::{Pod, publication, user};
use crate::support::redis::RedisServer;
use crate::support::{LOCAL, eventually};

#[tokio::test]
async fn what_is_published_arrives_byte_for_byte() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    let payloads: [&[u8]; 5] =
        [b"{\"a\": 1}\n", "größe".as_bytes(), b"", b"\xff\xfe\x00\r\n$3\r\n", &[b'x'; 70_000]];
    for payload in payloads {
        assert_eq!(server.publish("ann", payload).await, 1);
    }
    let seen = pod.until("five messages", |seen| seen.messages.len() == 5).await;
    for ((name, payload), expected) in seen.messages.iter().zip(payloads) {
        assert_eq!((name.as_str(), payload.as_slice()), ("ann", expected));
    }
}

#[tokio::test]
async fn a_user_id_may_be_any_text() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let long = "x".repeat(256);
    let names = ["with space", "a:b", "{tag}", "größe 🙂", "line\r\nbreak", "ws:ann", "*", &long];
    let subscriptions = join_all(names.iter().map(|name| pod.subscribe(name))).await;
    for name in names {
        assert_eq!(server.publish(name, name.as_bytes()).await, 1, "{name:?}");
    }
    let seen = pod.until("a message each", |seen| seen.messages.len() == names.len()).await;
    let expected: Vec<_> = names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect();
    assert_eq!(seen.messages, expected);

    drop(subscriptions);
    for name in names {
        eventually("the channel is left", LOCAL, async || {
            server.subscribers(&format!("ws:{name}")).await == 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_connect_storm_is_few_commands() {
    const USERS: usize = 5_000;
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    pod.until_status(Status::Up).await;
    let names: Vec<String> = (0..USERS).map(|number| format!("user-{number}")).collect();

    let subscriptions = join_all(names.iter().map(|name| pod.subscribe(name))).await;
    // One is for the fleet's orders.
    let commands = server.calls("subscribe").await - 1;
    // Two names a user, 500 names a command.
    assert!((20..=24).contains(&commands), "{commands} SUBSCRIBE commands");
    assert_eq!(pod.seen().subscribes as u64, commands, "each command's time is observed");
    assert_eq!(server.publish("user-4999", b"last").await, 1);
    pod.until("the message", |seen| seen.messages.len() == 1).await;

    drop(subscriptions);
    eventually("nobody is subscribed", LOCAL, async || server.user_channels().await.is_empty()).await;
    let commands = server.calls("unsubscribe").await;
    assert!(commands <= 24, "{commands} UNSUBSCRIBE commands");
}

#[tokio::test]
async fn the_last_connection_leaves_the_channel_and_the_next_one_hears_again() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let first = pod.subscribe("ann").await;
    let second = pod.subscribe("ann").await;
    drop(first);
    assert_eq!(server.publish("ann", b"still here").await, 1);
    drop(second);
    eventually("the channel is left", LOCAL, async || server.subscribers("ws:ann").await == 0).await;
    let _third = pod.subscribe("ann").await;
    assert_eq!(server.publish("ann", b"again").await, 1);
    let seen = pod.until("both", |seen| seen.messages.len() == 2).await;
    assert_eq!(seen.messages[1].1, b"again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_and_going_never_costs_a_message() {
    const ROUNDS: usize = 300;
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    // Two connections of each of three users come and go out of step; whoever is subscribed is heard.
    let visits = (0..6).map(|visitor| {
        let (pod, name) = (&pod, format!("user-{}", visitor % 3));
        async move {
            for round in 0..ROUNDS {
                let subscription = pod.subscribe(&name).await;
                let text = format!("{visitor}/{round}");
                let published = pod.backplane.publish(user(&name), publication(&text)).await;
                assert_eq!(published.map(|published| published.subscribers), Ok(1), "{name} {text}");
                drop(subscription);
            }
        }
    });
    join_all(visits).await;
    let seen = pod.until("all messages", |seen| seen.messages.len() >= 6 * ROUNDS).await;
    assert_eq!(seen.messages.len(), 6 * ROUNDS, "each once");
    eventually("all channels are left", LOCAL, async || server.user_channels().await.is_empty()).await;
}
