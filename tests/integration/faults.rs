//! Bad days that other tests do not have: what a client, a publisher and an operator see of them is `docs/faults.md`.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::redis::{Options, RedisServer};
use crate::support::service::{Service, token};
use crate::support::{LOCAL, eventually};

/// Redis takes this many clients in the tests about that.
const CLIENTS: usize = 8;

/// Takes all places that Redis has left. Holding the sockets holds them.
async fn crowd(redis: &RedisServer) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..CLIENTS {
        sockets.push(TcpStream::connect(redis.address()).await.expect("accepted by the kernel"));
    }
    sockets
}

async fn full_redis() -> RedisServer {
    let lines = vec!["maxclients 8"];
    RedisServer::start_with(Options { lines, ..Options::default() }).await
}

async fn hears(service: &Service, client: &mut Client, payload: &str) {
    assert_eq!(service.publish("ann", payload).await.status, 202);
    assert_eq!(client.text().await, payload);
}

#[tokio::test]
async fn a_redis_without_a_place_left_is_waited_for() {
    let redis = full_redis().await;
    let crowd = crowd(&redis).await;
    let service = Service::start_on(&redis.url(), &[]).await;
    let unready = http::request(service.admin(), "GET", "/readyz", &[], b"").await;
    assert_eq!(unready.json()["reasons"][0], "backplane");
    drop(crowd);
    eventually("the link is up", LOCAL, async || service.metric("websocket_backplane_up").await == 1.0).await;
    let mut client = service.connect("ann").await;
    hears(&service, &mut client, "hello").await;
}

#[tokio::test]
async fn a_crowd_at_redis_does_not_touch_the_links_there_are() {
    let redis = full_redis().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    let mut client = service.connect("ann").await;
    let _crowd = crowd(&redis).await;
    hears(&service, &mut client, "hello").await;
    let mut another = service.connect("ann").await;
    hears(&service, &mut another, "again").await;
}

#[tokio::test]
async fn a_frozen_pod_goes_on_where_it_was() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let mut frozen = Daemon::start(&[("REDIS_URL", &url)]).await;
    let other = Service::start_on(&url, &[]).await;
    let mut client = frozen.connect("ann").await;
    frozen.program.signal("STOP");
    for payload in ["1", "2", "3"] {
        let answer = other.publish("ann", payload).await;
        assert_eq!((answer.status, &answer.json()["subscribers"]), (202, &1.into()), "nobody knows yet");
    }
    let mut elsewhere = other.connect("ann").await;
    assert_eq!(other.publish("ann", "4").await.status, 202);
    assert_eq!(elsewhere.text().await, "4");
    frozen.program.signal("CONT");
    for payload in ["1", "2", "3", "4"] {
        assert_eq!(client.text().await, payload);
    }
}

/// Whether the service takes one more connection to its end.
async fn serves(public: SocketAddr) -> bool {
    let url = format!("ws://{public}/ws?token={}", token("bob"));
    Client::connect(&url).await.is_ok()
}

#[tokio::test]
async fn at_the_limit_of_open_files_who_is_there_stays_and_the_next_one_waits() {
    let service = Daemon::start_by_shell("ulimit -n 64", &[("MAX_CONNECTIONS", "1000")]).await;
    let mut client = service.connect("ann").await;
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(TcpStream::connect(service.public).await.expect("accepted by the kernel"));
    }
    let mut program = service.program;
    program.says("cannot accept connections", LOCAL).await;
    assert!(program.runs());
    // Over the connection that it has, for it takes no new one.
    client.send("still there?".into()).await;
    assert_eq!(client.text().await, "Echo: still there?");
    drop(sockets);
    eventually("it takes connections again", LOCAL, async || Box::pin(serves(service.public)).await).await;
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let service = Daemon::start_by_shell(">/dev/full 2>/dev/full", &[("LOG_LEVEL", "DEBUG")]).await;
    let mut client = service.connect("ann").await;
    assert_eq!(service.publish("ann", "hello").await.status, 202);
    assert_eq!(client.text().await, "hello");
    // A refusal has a line too.
    let url = format!("ws://{}/ws?token=bad", service.public);
    assert_eq!(Client::connect(&url).await.expect("upgraded").closed().await.code, 1008);
    assert_eq!(service.admin("/healthz").await.status, 200);
    let mut program = service.program;
    program.signal("TERM");
    assert_eq!(program.exit_code().await, Some(0));
}
