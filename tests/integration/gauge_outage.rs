//! The sidecar while something is away: Redis, or the service.

use std::time::Duration;

use crate::support::mounted::Mounted;
use crate::support::proxy::FaultProxy;
use crate::support::redis::{Options, RedisServer};
use crate::support::service::Service;
use crate::support::sidecar::Sidecar;
use crate::support::{Bound, LOCAL, eventually};

/// For what a report's age decides.
const EXPIRY: Bound = Bound {
    limit: Duration::from_secs(60),
    reason: "a report is good for 15 s; the rest is for a machine busy with other tests",
};

const FAILED: &str = "connection_gauge_reports_total{result=\"failed\"}";

/// Lines with this message, without the time they begin with.
fn told(sidecar: &Sidecar, message: &str) -> Vec<String> {
    let lines = sidecar.program.out().into_iter().filter(|line| line.contains(message));
    lines.map(|line| line.split_once("\"level\"").map_or(line.clone(), |(_, rest)| rest.to_owned())).collect()
}

#[tokio::test]
async fn redis_comes_late_and_goes_and_comes_back() {
    let mut redis = RedisServer::start().await;
    let url = redis.url();
    redis.stop();
    let service = Service::start(&[]).await;
    let _ann = service.connect("ann").await;
    let mut sidecar = Sidecar::start("a", service.admin(), &[("WEBSOCKET_SERVICE_REDIS_URL", &url)]).await;
    sidecar.shows("connection_gauge_redis_up", Some(0.0)).await;
    sidecar.shows("websocket_pod_connections", Some(1.0)).await;
    assert_eq!(sidecar.metric("websocket_fleet_connections").await, None);
    eventually("it tries again", LOCAL, async || sidecar.metric(FAILED).await >= Some(2.0)).await;
    assert_eq!(told(&sidecar, "Redis takes no reports").len(), 1, "{}", sidecar.program.text());
    assert_eq!(sidecar.get("/healthz").await.status, 200);

    redis.restart().await;
    sidecar.reports(&redis, 1).await;
    sidecar.shows("connection_gauge_redis_up", Some(1.0)).await;
    sidecar.shows("websocket_fleet_connections", Some(1.0)).await;

    redis.stop();
    sidecar.shows("connection_gauge_redis_up", Some(0.0)).await;
    let _bob = service.connect("bob").await;
    sidecar.shows("websocket_pod_connections", Some(2.0)).await;
    assert_eq!(sidecar.get("/gauge").await.json()["connections"], 2);
    redis.restart().await;
    sidecar.reports(&redis, 2).await;
    sidecar.program.says("Redis takes reports", LOCAL).await;
    sidecar.shows("connection_gauge_redis_up", Some(1.0)).await;
}

#[tokio::test]
async fn redis_that_hangs_delays_no_reading_and_holds_no_exit_back() {
    let redis = RedisServer::start().await;
    let service = Service::start(&[]).await;
    let mut sidecar = Sidecar::reporting("a", service.admin(), &redis).await;
    sidecar.reports(&redis, 0).await;
    redis.pause();
    let _ann = service.connect("ann").await;
    sidecar.shows("websocket_pod_connections", Some(1.0)).await;
    sidecar.shows("connection_gauge_redis_up", Some(0.0)).await;
    sidecar.program.says("no answer within 1s", LOCAL).await;

    sidecar.program.signal("TERM");
    service.stop().await;
    assert_eq!(sidecar.program.exit_code().await, Some(0));
    assert_eq!(told(&sidecar, "the report is left to expire").len(), 1);
    redis.resume();
}

#[tokio::test]
async fn the_file_with_the_url_is_reread_at_each_connect() {
    let options = Options { password: Some("the-right-one"), ..Options::default() };
    let redis = RedisServer::start_with(options).await;
    let secret = Mounted::new(&[("redis-url", &redis.url().replace("right", "wrong"))]);
    let service = Service::start(&[]).await;
    let file = secret.path("redis-url");
    let sidecar = Sidecar::start("a", service.admin(), &[("WEBSOCKET_SERVICE_REDIS_URL_FILE", &file)]).await;
    sidecar.shows("connection_gauge_redis_up", Some(0.0)).await;
    secret.change(&[("redis-url", &format!("{}\n", redis.url()))]);
    sidecar.reports(&redis, 0).await;
    sidecar.shows("connection_gauge_redis_up", Some(1.0)).await;
    let text = sidecar.program.text();
    assert!(!text.contains("the-wrong-one") && !text.contains("the-right-one"), "{text}");
}

#[tokio::test]
async fn a_service_that_is_not_there_yet_is_waited_for() {
    let redis = RedisServer::start().await;
    let service = Service::start(&[]).await;
    let door = FaultProxy::start(service.admin().to_string()).await;
    door.cut();
    let mut sidecar = Sidecar::reporting("a", door.address(), &redis).await;
    sidecar.program.says("waiting for the service", LOCAL).await;
    let answer = sidecar.get("/gauge").await;
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "SERVICE_UNAVAILABLE"));
    assert_eq!(sidecar.metric("connection_gauge_status_up").await, Some(0.0));
    assert_eq!(sidecar.metric("websocket_pod_connections").await, None);
    assert_eq!(sidecar.get("/healthz").await.status, 200);
    assert_eq!(sidecar.report(&redis).await, None, "nothing is made up");
    door.restore();
    sidecar.reports(&redis, 0).await;
    sidecar.shows("connection_gauge_status_up", Some(1.0)).await;
}

#[tokio::test]
async fn what_the_service_does_not_tell_expires() {
    let redis = RedisServer::start().await;
    let service = Service::start(&[]).await;
    let _ann = service.connect("ann").await;
    let door = FaultProxy::start(service.admin().to_string()).await;
    let mut sidecar = Sidecar::reporting("a", door.address(), &redis).await;
    sidecar.reports(&redis, 1).await;
    // Half-open: connections are taken and nothing is answered.
    door.hold();
    sidecar.program.says("the service does not tell its connections", LOCAL).await;
    sidecar.shows("connection_gauge_status_up", Some(0.0)).await;
    assert_eq!(sidecar.get("/gauge").await.status, 200, "the last report is not too old yet");
    assert!(sidecar.report(&redis).await.is_some());

    eventually("the report is too old", EXPIRY, async || sidecar.get("/gauge").await.status == 503).await;
    assert_eq!(sidecar.metric("websocket_pod_connections").await, None);
    eventually("it expires in Redis", EXPIRY, async || sidecar.report(&redis).await.is_none()).await;
    assert_eq!(told(&sidecar, "does not tell").len(), 1, "once a change: {}", sidecar.program.text());
    assert_eq!(sidecar.metric("connection_gauge_redis_up").await, Some(1.0), "Redis has done nothing wrong");
    assert_eq!(sidecar.get("/healthz").await.status, 200);

    door.restore();
    sidecar.reports(&redis, 1).await;
    sidecar.shows("websocket_pod_connections", Some(1.0)).await;
}

#[tokio::test]
async fn a_wrong_status_url_is_said_and_not_died_of() {
    let service = Service::start(&[]).await;
    let address = service.admin();
    let wrong = format!("http://{address}/healthz");
    let mut sidecar = Sidecar::start("a", address, &[("CONNECTION_GAUGE_STATUS_URL", &wrong)]).await;
    let line = sidecar.program.says("does not tell its connections", LOCAL).await;
    assert!(line.contains("\"level\":\"WARN\"") && line.contains(&wrong), "{line}");
    assert_eq!(sidecar.metric("connection_gauge_status_up").await, Some(0.0));
    assert_eq!(sidecar.get("/healthz").await.status, 200);
}
