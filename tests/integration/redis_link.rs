//! The subscriber link against a real Redis: how it heals.

use std::time::Duration;

use futures_util::future::join_all;
use websocket_service::backplane::redis::Tuning;
use websocket_service::backplane::{Backplane, BackplaneError, Status};
use websocket_service::config::Secret;

use crate::support::backplane::{Pod, quick, user};
use crate::support::proxy::FaultProxy;
use crate::support::redis::RedisServer;
use crate::support::{LOCAL, eventually, within};

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
    assert_eq!(server.publish("ann", b"hello").await, 1);
    let seen = pod.until("the message", |seen| seen.messages.len() == 1).await;
    assert_eq!((seen.gaps, seen.statuses), (0, vec![Status::Up]), "nothing was missed before the start");
}

#[tokio::test]
async fn a_cut_heals_and_is_told_as_one_gap() {
    const USERS: usize = 1_200;
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    // Small chunks, so that there is something between the first and the last.
    let tuning = Tuning { chunk: 10, ..quick() };
    let pod = Pod::start_tuned(Secret::inline(format!("redis://{}", proxy.address())), tuning);
    let names: Vec<String> = (0..USERS).map(|number| format!("user-{number}")).collect();
    let _held = join_all(names.iter().map(|name| pod.subscribe(name))).await;

    proxy.cut();
    pod.until_status(Status::Down).await;
    eventually("the server sees the cut", LOCAL, async || server.subscribers("ws:user-7").await == 0).await;
    assert_eq!(server.publish("user-7", b"lost").await, 0);

    proxy.restore();
    let seen = pod.until("the gap", |seen| seen.gaps > 0).await;
    assert_eq!(seen.statuses, [Status::Up, Status::Down, Status::Up], "up again before the gap is told");
    assert_eq!(server.user_channels().await.len(), 2 * USERS, "everything is subscribed before that");
    for name in ["user-0", "user-7", "user-1199"] {
        assert_eq!(server.publish(name, b"after").await, 1, "{name} is subscribed once");
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
    pod.until_status(Status::Down).await;
    // Both links were remade at least once, and those attempts were held too.
    proxy.wait_accepted(5, LOCAL).await;
    assert_eq!(pod.backplane.status(), Status::Down);

    proxy.restore();
    pod.until("the gap", |seen| seen.gaps == 1).await;
    eventually("the dead connections are gone", LOCAL, async || server.subscribers("ws:ann").await == 1)
        .await;
    server.publish("ann", b"after").await;
    pod.until("the message", |seen| seen.messages.len() == 1).await;
}

#[tokio::test]
async fn a_busy_link_is_not_taken_for_dead() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    // A PONG takes twice the proxy's delay, which is too long; messages come once a delay.
    let tuning =
        Tuning { ping_every: Duration::from_millis(1), ping_answer: Duration::from_millis(1_700), ..quick() };
    let pod = Pod::start_tuned(Secret::inline(format!("redis://{}", proxy.address())), tuning);
    let _ann = pod.subscribe("ann").await;
    let pings = server.calls("ping").await;
    proxy.slow(Duration::from_secs(1));
    // Two connections are pinged; the publisher's has nothing else to show and is remade.
    eventually("several late answers", LOCAL, async || {
        server.publish("ann", b"busy").await;
        server.calls("ping").await >= pings + 5
    })
    .await;
    assert_eq!((pod.seen().statuses, pod.seen().gaps), (vec![Status::Up], 0));
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
    assert_eq!(server.publish("ann", b"hello").await, 1);
}

#[tokio::test]
async fn a_slow_network_is_no_fault() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    proxy.slow(Duration::from_millis(20));
    let pod = Pod::start(&format!("redis://{}", proxy.address()));
    let names: Vec<String> = (0..2_000).map(|number| format!("user-{number}")).collect();
    let _held = join_all(names.iter().map(|name| pod.subscribe(name))).await;
    server.publish("user-1", b"hello").await;
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
    assert_eq!(server.publish("ann", b"1").await, 1);
    // Redis may answer the publisher first, and be killed before it has written to the pod.
    pod.until("the first message", |seen| seen.messages.len() == 1).await;

    server.restart().await;
    pod.until("the second gap", |seen| seen.gaps == 2).await;
    assert_eq!(server.publish("ann", b"2").await, 1);
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
