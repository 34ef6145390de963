//! The subscriber link against a real Redis: what arrives, and how it heals.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use websocket_service::backplane::redis::Tuning;
use websocket_service::backplane::{Backplane, BackplaneError, Status};
use websocket_service::config::Secret;

use crate::support::backplane::{Pod, quick, user};
use crate::support::proxy::FaultProxy;
use crate::support::redis::RedisServer;
use crate::support::{LOCAL, eventually, within};

async fn publish(server: &RedisServer, name: &str, payload: &[u8]) -> u64 {
    server.run("PUBLISH", &[format!("ws:{name}").as_bytes(), payload]).await
}

#[tokio::test]
async fn what_is_published_arrives_byte_for_byte() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    let payloads: [&[u8]; 5] =
        [b"{\"a\": 1}\n", "größe".as_bytes(), b"", b"\xff\xfe\x00\r\n$3\r\n", &[b'x'; 70_000]];
    for payload in payloads {
        assert_eq!(publish(&server, "ann", payload).await, 1);
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
        assert_eq!(publish(&server, name, name.as_bytes()).await, 1, "{name:?}");
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

    let start = Instant::now();
    let subscriptions = join_all(names.iter().map(|name| pod.subscribe(name))).await;
    eprintln!("{USERS} subscriptions took {:?}", start.elapsed());
    let commands = server.calls("subscribe").await;
    assert!((10..=12).contains(&commands), "{commands} SUBSCRIBE commands");
    assert_eq!(pod.seen().subscribes as u64, commands, "each command's time is observed");
    assert_eq!(publish(&server, "user-4999", b"last").await, 1);
    pod.until("the message", |seen| seen.messages.len() == 1).await;

    drop(subscriptions);
    eventually("nobody is subscribed", LOCAL, async || {
        server.run::<Vec<String>>("PUBSUB CHANNELS", &[]).await.is_empty()
    })
    .await;
    let commands = server.calls("unsubscribe").await;
    assert!(commands <= 12, "{commands} UNSUBSCRIBE commands");
}

#[tokio::test]
async fn the_last_connection_leaves_the_channel_and_the_next_one_hears_again() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let first = pod.subscribe("ann").await;
    let second = pod.subscribe("ann").await;
    drop(first);
    assert_eq!(publish(&server, "ann", b"still here").await, 1);
    drop(second);
    eventually("the channel is left", LOCAL, async || server.subscribers("ws:ann").await == 0).await;
    let _third = pod.subscribe("ann").await;
    assert_eq!(publish(&server, "ann", b"again").await, 1);
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
                let published = pod.backplane.publish(user(&name), text.as_str().into()).await;
                assert_eq!(published.map(|published| published.subscribers), Ok(1), "{name} {text}");
                drop(subscription);
            }
        }
    });
    join_all(visits).await;
    let seen = pod.until("all messages", |seen| seen.messages.len() >= 6 * ROUNDS).await;
    assert_eq!(seen.messages.len(), 6 * ROUNDS, "each once");
    eventually("all channels are left", LOCAL, async || {
        server.run::<Vec<String>>("PUBSUB CHANNELS", &[]).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn redis_may_come_later() {
    let mut server = RedisServer::start().await;
    server.stop();
    let pod = Pod::start(&server.url());
    let waiting = pod.backplane.subscribe(user("ann"));
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(100), waiting.as_mut()).await;
    assert!(early.is_err(), "nothing to subscribe to yet");
    assert_eq!(pod.backplane.status(), Status::Connecting);

    server.restart().await;
    let _ann = within("the subscription", LOCAL, waiting).await.expect("subscribed");
    pod.until_status(Status::Up).await;
    assert_eq!(publish(&server, "ann", b"hello").await, 1);
    let seen = pod.until("the message", |seen| seen.messages.len() == 1).await;
    assert_eq!((seen.gaps, seen.statuses), (0, vec![Status::Up]), "nothing was missed before the start");
}

#[tokio::test]
async fn a_cut_heals_and_is_told_as_one_gap() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let pod = Pod::start(&format!("redis://{}", proxy.address()));
    let names: Vec<String> = (0..1_200).map(|number| format!("user-{number}")).collect();
    let _held = join_all(names.iter().map(|name| pod.subscribe(name))).await;

    proxy.cut();
    pod.until_status(Status::Down).await;
    eventually("the server sees the cut", LOCAL, async || server.subscribers("ws:user-7").await == 0).await;
    assert_eq!(publish(&server, "user-7", b"lost").await, 0);

    proxy.restore();
    let seen = pod.until("the gap", |seen| seen.gaps > 0).await;
    assert_eq!(seen.statuses, [Status::Up, Status::Down, Status::Up], "up again before the gap is told");
    for name in ["user-0", "user-7", "user-1199"] {
        assert_eq!(publish(&server, name, b"after").await, 1, "{name} is subscribed again, once");
    }
    let seen = pod.until("three messages", |seen| seen.messages.len() == 3).await;
    assert_eq!((seen.gaps, seen.messages[0].1.as_slice()), (1, b"after".as_slice()));
}

#[tokio::test]
async fn a_link_that_is_open_and_dead_is_found() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let tuning = Tuning {
        ping_every: Duration::from_millis(50),
        ping_answer: Duration::from_millis(500),
        connect: Duration::from_millis(500),
        ..quick()
    };
    let pod = Pod::start_tuned(Secret::inline(format!("redis://{}", proxy.address())), tuning);
    let _ann = pod.subscribe("ann").await;
    proxy.hold();
    let start = Instant::now();
    pod.until_status(Status::Down).await;
    eprintln!("found dead after {:?}", start.elapsed());
    // Both links were remade at least once, and those attempts were held too.
    proxy.wait_accepted(5, LOCAL).await;
    assert_eq!(pod.backplane.status(), Status::Down);

    proxy.restore();
    pod.until("the gap", |seen| seen.gaps == 1).await;
    eventually("the dead connections are gone", LOCAL, async || server.subscribers("ws:ann").await == 1)
        .await;
    publish(&server, "ann", b"after").await;
    pod.until("the message", |seen| seen.messages.len() == 1).await;
}

#[tokio::test]
async fn an_unconfirmed_subscription_remakes_the_link() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    // The watchdog sleeps; only the bound of the SUBSCRIBE can find it.
    let tuning =
        Tuning { ping_every: Duration::from_secs(3_600), confirm: Duration::from_millis(300), ..quick() };
    let pod = Pod::start_tuned(Secret::inline(format!("redis://{}", proxy.address())), tuning);
    pod.until_status(Status::Up).await;
    proxy.hold();
    let waiting = pod.backplane.subscribe(user("ann"));
    let (subscribed, ()) = tokio::join!(within("the subscription", LOCAL, waiting), async {
        pod.until_status(Status::Down).await;
        proxy.restore();
    });
    let _ann = subscribed.expect("subscribed on the new link");
    assert_eq!(publish(&server, "ann", b"hello").await, 1);
}

#[tokio::test]
async fn a_slow_network_is_no_fault() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    proxy.slow(Duration::from_millis(20));
    let pod = Pod::start(&format!("redis://{}", proxy.address()));
    let names: Vec<String> = (0..2_000).map(|number| format!("user-{number}")).collect();
    let _held = join_all(names.iter().map(|name| pod.subscribe(name))).await;
    publish(&server, "user-1", b"hello").await;
    let seen = pod.until("the message", |seen| seen.messages.len() == 1).await;
    assert_eq!((seen.gaps, proxy.accepted()), (0, 2), "two connections, none remade");
}

#[tokio::test]
async fn a_killed_client_and_a_restarted_server_heal() {
    let mut server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    assert_eq!(server.run::<u64>("CLIENT KILL TYPE pubsub", &[]).await, 1);
    pod.until("the gap", |seen| seen.gaps == 1).await;
    assert_eq!(publish(&server, "ann", b"1").await, 1);

    server.restart().await;
    pod.until("the second gap", |seen| seen.gaps == 2).await;
    assert_eq!(publish(&server, "ann", b"2").await, 1);
    pod.until("both messages", |seen| seen.messages.len() == 2).await;
}

#[tokio::test]
async fn ends_when_told() {
    let mut server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    server.stop();
    pod.until_status(Status::Down).await;
    let waiting = pod.backplane.subscribe(user("bob"));
    pod.stop.cancel();
    let refused = within("an answer", LOCAL, waiting).await;
    assert_eq!(refused.err(), Some(BackplaneError::Unavailable));
    within("the tasks end", LOCAL, pod.backplane.stopped()).await;
}
