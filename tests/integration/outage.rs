//! Redis away, at the start and later, as the service's users and its operator see it.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::proxy::FaultProxy;
use crate::support::redis::RedisServer;
use crate::support::service::{Service, token};
use crate::support::{Bound, eventually, http};

/// An upgrade is answered within this, come what may.
const UPGRADE: Duration = Duration::from_secs(7);
/// And a publication.
const PUBLISH: Duration = Duration::from_secs(4);

/// Eight seconds find a silent link; then up to five between two attempts to connect.
const HEALED: Bound = Bound {
    limit: Duration::from_secs(40),
    reason: "a silent link is found after 8 s and remade with up to 5 s between attempts",
};

async fn readiness(service: &Service) -> (u16, serde_json::Value) {
    let answer = http::request(service.admin(), "GET", "/readyz", &[], b"").await;
    (answer.status, answer.json()["reasons"].clone())
}

async fn until(service: &Service, backplane: &str) {
    eventually(&format!("the backplane is {backplane}"), HEALED, async || {
        service.admin_json("/status").await["backplane"] == backplane
    })
    .await;
}

/// An upgrade is refused in time, with a time to come back.
async fn assert_refused(service: &Service, user: &str) {
    let start = Instant::now();
    let url = service.url(&format!("?token={}", token(user)));
    let answer = Client::connect(&url).await.err().expect("no 101 without a confirmed subscription");
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "SERVICE_UNAVAILABLE"));
    let seconds: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((1..=10).contains(&seconds), "{seconds}");
    assert!(start.elapsed() < UPGRADE, "{:?}", start.elapsed());
}

/// What holds while Redis is away: who is connected stays and is served, and everybody is told in time.
async fn assert_degraded(service: &Service, connected: &mut [Client]) {
    assert_eq!(readiness(service).await, (200, json!([])), "an outage that all pods share unreadies none");
    assert_eq!(service.metric("websocket_backplane_up").await, 0.0);
    let start = Instant::now();
    let answer = service.publish("ann", "lost").await;
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "SERVICE_UNAVAILABLE"));
    assert!(answer.header("retry-after").is_some());
    assert!(start.elapsed() < PUBLISH, "{:?}", start.elapsed());
    for client in connected {
        client.send(Message::text("there?")).await;
        assert_eq!(client.text().await, "Echo: there?");
    }
}

/// What holds again afterwards, on the connections that were there before.
async fn assert_healed(service: &Service, redis: &RedisServer, connected: &mut [Client]) {
    until(service, "up").await;
    assert_eq!(service.metric("websocket_backplane_up").await, 1.0);
    assert_eq!(redis.publish("ann", b"bare, after").await, 1);
    eventually("the publish API works", HEALED, async || {
        service.publish("ann", "http, after").await.status == 202
    })
    .await;
    for client in connected {
        assert_eq!(client.text().await, "bare, after");
        assert_eq!(client.text().await, "http, after");
    }
    let mut late = service.connect("late").await;
    assert_eq!(redis.publish("late", b"hello").await, 1);
    assert_eq!(late.text().await, "hello");
}

async fn connected(service: &Service) -> Vec<Client> {
    vec![service.connect("ann").await, service.connect("ann").await]
}

#[tokio::test]
async fn redis_away_at_the_start() {
    let mut redis = RedisServer::start().await;
    redis.stop();
    let service = Service::start_on(&redis.url(), &[]).await;
    assert_eq!(readiness(&service).await, (503, json!(["backplane"])));
    assert_eq!(service.admin_json("/status").await["backplane"], "connecting");
    assert_eq!(http::try_get(service.admin(), "/healthz").await.map(|answer| answer.status), Some(200));
    assert_refused(&service, "ann").await;
    assert_eq!(service.admin_json("/status").await["users"], 0, "a refused upgrade leaves nothing behind");

    redis.restart().await;
    eventually("ready", HEALED, async || readiness(&service).await == (200, json!([]))).await;
    let mut clients = connected(&service).await;
    assert_healed(&service, &redis, &mut clients).await;
}

#[tokio::test]
async fn the_link_is_cut() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let service = Service::start_on(&format!("redis://{}", proxy.address()), &[]).await;
    let mut clients = connected(&service).await;
    proxy.cut();
    until(&service, "degraded").await;
    assert_degraded(&service, &mut clients).await;
    // Also for a user who was subscribed: nobody can say whether a message would arrive.
    tokio::join!(assert_refused(&service, "ann"), assert_refused(&service, "bob"));
    proxy.restore();
    assert_healed(&service, &redis, &mut clients).await;
}

#[tokio::test]
async fn the_link_is_open_and_dead() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let service = Service::start_on(&format!("redis://{}", proxy.address()), &[]).await;
    let mut clients = connected(&service).await;
    proxy.hold();
    // Before anybody has noticed, the bounds hold as well.
    assert_refused(&service, "bob").await;
    until(&service, "degraded").await;
    assert_degraded(&service, &mut clients).await;
    proxy.restore();
    // What was held comes late: the publication that was answered 503 may have been made.
    until(&service, "up").await;
    assert_eq!(redis.publish("ann", b"after").await, 1);
    for client in &mut clients {
        while client.text().await != "after" {}
    }
    assert_healed(&service, &redis, &mut clients).await;
}

#[tokio::test]
async fn redis_is_restarted() {
    let mut redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    let mut clients = connected(&service).await;
    redis.stop();
    until(&service, "degraded").await;
    assert_degraded(&service, &mut clients).await;
    redis.restart().await;
    assert_healed(&service, &redis, &mut clients).await;
}

#[tokio::test]
async fn a_slow_network_is_no_outage() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let service = Service::start_on(&format!("redis://{}", proxy.address()), &[]).await;
    let mut clients = connected(&service).await;
    let links = proxy.accepted();
    proxy.slow(Duration::from_millis(200));
    assert_healed(&service, &redis, &mut clients).await;
    assert_eq!((proxy.accepted(), service.metric("websocket_backplane_up").await), (links, 1.0));
}

/// The 101 promises that nothing published from then on is missed. The publisher does not pass the slow proxy, so a
/// 101 before the confirmation would be found out.
#[tokio::test]
async fn what_is_published_at_the_101_arrives() {
    const USERS: usize = 200;
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let service = Service::start_on(&format!("redis://{}", proxy.address()), &[]).await;
    until(&service, "up").await;
    proxy.slow(Duration::from_millis(30));
    let each = (0..USERS).map(async |number| {
        let user = format!("user-{number}");
        let mut client = service.connect(&user).await;
        assert_eq!(redis.publish(&user, user.as_bytes()).await, 1, "subscribed before the 101");
        assert_eq!(client.text().await, user);
    });
    // A few at a time: all at once would share two SUBSCRIBEs.
    stream::iter(each).buffer_unordered(20).collect::<Vec<()>>().await;
    let confirmed = service.metric("redis_subscription_duration_seconds_count").await;
    assert!(confirmed >= 10.0, "{confirmed} SUBSCRIBEs");
}

#[tokio::test]
async fn an_upgrade_that_fails_evicts_nobody() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let settings = [("MAX_CONNECTIONS_PER_USER", "1"), ("MAX_CONNECTIONS_PER_USER_POLICY", "evict_oldest")];
    let service = Service::start_on(&format!("redis://{}", proxy.address()), &settings).await;
    let mut client = service.connect("ann").await;
    proxy.cut();
    until(&service, "degraded").await;
    assert_refused(&service, "ann").await;
    proxy.restore();
    until(&service, "up").await;
    redis.publish("ann", b"still there").await;
    assert_eq!(client.text().await, "still there");
}
