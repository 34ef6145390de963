//! Proof of delivery: a pod that does not hear what it publishes to itself.

use std::time::Duration;

use websocket_service::backplane::redis::Tuning;
use websocket_service::backplane::{Backplane, Canary, Status};
use websocket_service::config::Secret;

use crate::support::backplane::{Pod, quick};
use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::proxy::FaultProxy;
use crate::support::redis::{Options, RedisServer};
use crate::support::{LOCAL, eventually};

/// A canary every three seconds: on a machine that is busy with other tests, one may be late by a second or two.
fn watchful() -> Tuning {
    Tuning {
        canary_every: Duration::from_secs(3),
        canary_answer: Duration::from_millis(2_800),
        canary_patience: Duration::from_secs(6),
        ..quick()
    }
}

fn through(proxy: &FaultProxy) -> Pod {
    Pod::start_tuned(Secret::inline(format!("redis://{}", proxy.address())), watchful())
}

fn lost(canaries: &[Canary]) -> usize {
    canaries.iter().filter(|canary| **canary == Canary::Lost).count()
}

fn is_back(canary: &Canary) -> bool {
    matches!(canary, Canary::Back(_))
}

#[tokio::test]
async fn a_link_that_is_open_and_deaf_is_made_anew_within_three_periods() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let pod = through(&proxy);
    let _ann = pod.subscribe("ann").await;
    pod.until("a canary comes back", |seen| seen.canaries.iter().any(is_back)).await;
    assert!(pod.backplane.canary_age().is_some_and(|age| age < LOCAL.limit));

    proxy.deafen(false);
    assert_eq!(server.publish("ann", b"lost").await, 1, "Redis believes that it is heard");
    let seen = pod
        .until("it hears again", |seen| lost(&seen.canaries) > 0 && seen.canaries.last().is_some_and(is_back))
        .await;
    assert_eq!(seen.statuses, [Status::Up, Status::Down, Status::Up], "one new link");
    assert!(lost(&seen.canaries) <= 2, "healed within three canaries: {:?}", seen.canaries);
    assert_eq!(seen.gaps, 1, "what was missed is told");
    assert_eq!(server.publish("ann", b"heard").await, 1);
    let seen = pod.until("the message", |seen| !seen.messages.is_empty()).await;
    assert_eq!(seen.messages, [("ann".to_owned(), b"heard".to_vec())], "no canary is anybody's message");
}

#[tokio::test]
async fn one_that_is_deaf_alone_knows_and_a_fleet_that_is_deaf_together_does_not_go() {
    let server = RedisServer::start().await;
    let proxies = [FaultProxy::start(server.address()).await, FaultProxy::start(server.address()).await];
    let pods = proxies.each_ref().map(through);
    for pod in &pods {
        pod.until("a canary comes back", |seen| seen.canaries.iter().any(is_back)).await;
    }
    let alone = |of: usize| pods[of].backplane.deaf_alone();
    proxies[0].deafen(true);
    eventually("the first is alone", LOCAL, async || alone(0)).await;
    assert!(!alone(1));

    proxies[1].deafen(true);
    eventually("both are deaf, so neither is alone", LOCAL, async || {
        lost(&pods[1].seen().canaries) > 0 && !alone(0) && !alone(1)
    })
    .await;

    proxies.iter().for_each(FaultProxy::restore);
    for pod in &pods {
        let before = pod.seen().canaries.len();
        pod.until("it hears again", |seen| seen.canaries[before..].iter().any(is_back)).await;
        // One of them heard first, and the other stood alone until its own canary came back.
        eventually("it is ready again", LOCAL, async || !pod.backplane.deaf_alone()).await;
    }
}

#[tokio::test]
async fn redis_away_proves_nothing() {
    let mut server = RedisServer::start().await;
    let pod = Pod::start_tuned(Secret::inline(server.url()), watchful());
    pod.until("a canary comes back", |seen| seen.canaries.iter().any(is_back)).await;
    server.stop();
    let seen = pod.until("an unknown", |seen| seen.canaries.contains(&Canary::Unknown)).await;
    assert_eq!((lost(&seen.canaries), pod.backplane.deaf_alone()), (0, false));
}

#[tokio::test]
async fn a_server_that_refuses_the_canary_is_let_be() {
    let lines = vec!["user default on nopass ~* &ws:ann &{ws:ann}:messages +@all"];
    let server = RedisServer::start_with(Options { lines, ..Options::default() }).await;
    let pod = Pod::start_tuned(Secret::inline(server.url()), watchful());
    let _ann = pod.subscribe("ann").await;
    let seen = pod.until("two canaries", |seen| seen.canaries.len() > 1).await;
    assert_eq!(seen.canaries[..2], [Canary::Unknown, Canary::Unknown]);
    assert_eq!((seen.statuses, seen.gaps), (vec![Status::Up], 0), "the link stays");
}

#[tokio::test]
async fn the_rights_it_needs_are_those_of_the_documentation() {
    let lines = vec![
        "user default on nopass resetchannels &ws:* &{ws:* resetkeys ~ws:* ~{ws:* -@all +subscribe +unsubscribe \
         +publish +ping +evalsha +eval +zadd +zrem +zremrangebyscore +zcard +pexpire +time +hello +client +info",
    ];
    let server = RedisServer::start_with(Options { lines, ..Options::default() }).await;
    let pod = Pod::start_tuned(Secret::inline(server.url()), watchful());
    let seen = pod.until("two canaries", |seen| seen.canaries.len() > 1).await;
    assert!(seen.canaries.iter().all(is_back), "{:?}", seen.canaries);
    let stats: String = server.run("INFO errorstats", &[]).await;
    assert!(!stats.contains("NOPERM"), "{stats}");
}

#[tokio::test]
async fn a_deaf_pod_is_unready_while_another_hears() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let (deaf, direct) = (format!("redis://{}", proxy.address()), server.url());
    let deaf = Daemon::start(&[("REDIS_URL", &deaf)]).await;
    let hearing = Daemon::start(&[("REDIS_URL", &direct)]).await;
    for pod in [&deaf, &hearing] {
        eventually("a canary is back", LOCAL, async || {
            http::metric(pod.admin, "websocket_canary_round_trip_seconds_count").await > 0.0
        })
        .await;
    }
    proxy.deafen(true);
    eventually("unready", LOCAL, async || deaf.unready().await == ["backplane"]).await;
    assert_eq!(http::metric(deaf.admin, "websocket_deaf").await, 1.0);
    assert!(http::metric(deaf.admin, "websocket_canary_lost_total").await >= 1.0);
    assert!(hearing.unready().await.is_empty());
    proxy.restore();
    eventually("ready again", LOCAL, async || deaf.unready().await.is_empty()).await;
    assert!(http::metric(deaf.admin, "websocket_backplane_reconnects_total").await >= 1.0);
}
