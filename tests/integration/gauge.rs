//! The sidecar: what it reports, where, and how it goes.

use serde_json::json;
use tokio::net::TcpStream;

use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::sidecar::{INDEX, Sidecar, command};
use crate::support::{LOCAL, eventually};

const POD: &str = "websocket_pod_connections{namespace=\"chat\",node=\"node-a\",pod=\"pod-a\"}";
const FLEET: &str = "websocket_fleet_connections{fleet=\"ws\",namespace=\"chat\"}";

#[tokio::test]
async fn a_report_has_the_agreed_fields_and_follows_the_connections() {
    let redis = RedisServer::start().await;
    let service = Service::start(&[("MAX_CONNECTIONS", "50"), ("DRAIN_LAME_DUCK_SECONDS", "600")]).await;
    let sidecar = Sidecar::reporting("a", service.admin(), &redis).await;
    sidecar.reports(&redis, 0).await;
    let clients = [service.connect("ann").await, service.connect("bob").await];
    sidecar.reports(&redis, 2).await;

    let mut report = sidecar.report(&redis).await.expect("a report");
    let at = report["at"].as_u64().expect("milliseconds");
    report.as_object_mut().expect("an object").remove("at");
    let expected = json!({
        "pod": "pod-a", "namespace": "chat", "node": "node-a", "connections": 2, "limit": 50,
        "draining": false, "revision": "7d4", "users": 2, "messages_sent": 0, "outbox_bytes": 0,
        "backplane": "up", "version": env!("CARGO_PKG_VERSION"), "admin": service.admin(),
    });
    assert_eq!(report, expected);
    let expiry: i64 = redis.run("PTTL", &[sidecar.key().as_bytes()]).await;
    assert!((1..=15_000).contains(&expiry), "{expiry}");
    let index_expiry: i64 = redis.run("PTTL", &[INDEX.as_bytes()]).await;
    assert!((15_000..=60_000).contains(&index_expiry), "{index_expiry}");
    let score: f64 = redis.run("ZSCORE", &[INDEX.as_bytes(), b"a"]).await;
    assert!(score >= at as f64, "of this report or a later one");

    sidecar.shows(POD, Some(2.0)).await;
    let gauge = sidecar.get("/gauge").await;
    assert_eq!((gauge.status, gauge.header("content-type")), (200, Some("application/json")));
    assert_eq!(
        (gauge.json()["pod"].as_str(), gauge.json()["connections"].as_u64()),
        (Some("pod-a"), Some(2))
    );
    assert_eq!(sidecar.metric("connection_gauge_status_up").await, Some(1.0));
    assert_eq!(sidecar.metric("connection_gauge_redis_up").await, Some(1.0));
    assert!(sidecar.metric("connection_gauge_reports_total{result=\"ok\"}").await >= Some(2.0));
    assert_eq!(sidecar.metric("connection_gauge_reports_total{result=\"failed\"}").await, Some(0.0));

    service.drain.start();
    eventually("the drain is reported", LOCAL, async || {
        sidecar.report(&redis).await.is_some_and(|report| report["draining"] == true)
    })
    .await;
    drop(clients);
    sidecar.reports(&redis, 0).await;
}

#[tokio::test]
async fn every_pod_of_a_fleet_shows_the_sum() {
    let redis = RedisServer::start().await;
    let (one, two) = (Service::start(&[]).await, Service::start(&[]).await);
    let _clients = [one.connect("ann").await, one.connect("bob").await, two.connect("ann").await];
    let a = Sidecar::reporting("a", one.admin(), &redis).await;
    let b = Sidecar::reporting("b", two.admin(), &redis).await;
    let elsewhere = [("CONNECTION_GAUGE_FLEET", "other"), ("WEBSOCKET_SERVICE_REDIS_URL", &redis.url())];
    let other = Sidecar::start("c", one.admin(), &elsewhere).await;
    // What others leave in the index is passed over: a pod that died, and something that is no report.
    redis.run::<()>("ZADD", &[INDEX.as_bytes(), b"9999999999999", b"dead"]).await;
    redis.run::<()>("ZADD", &[INDEX.as_bytes(), b"9999999999999", b"junk"]).await;
    redis.run::<()>("SET", &[b"websocket-service:gauge:junk", b"{}"]).await;
    redis.run::<()>("ZADD", &[INDEX.as_bytes(), b"1", b"long ago"]).await;

    for sidecar in [&a, &b] {
        sidecar.shows(FLEET, Some(3.0)).await;
    }
    other.shows("websocket_fleet_connections{fleet=\"other\",namespace=\"chat\"}", Some(2.0)).await;
    eventually("what is too old leaves the index", LOCAL, async || {
        redis.run::<Vec<String>>("ZRANGE", &[INDEX.as_bytes(), b"0", b"-1"]).await
            == ["a", "b", "dead", "junk"]
    })
    .await;
}

#[tokio::test]
async fn without_redis_it_shows_what_it_reads() {
    let service = Service::start(&[]).await;
    let _client = service.connect("ann").await;
    let sidecar = Sidecar::start("a", service.admin(), &[]).await;
    sidecar.shows(POD, Some(1.0)).await;
    assert_eq!(sidecar.metric("websocket_fleet_connections").await, None);
    assert_eq!(sidecar.metric("connection_gauge_redis_up").await, None);
    assert_eq!(sidecar.get("/gauge").await.json()["connections"], 1);
    assert_eq!(sidecar.get("/nothing").await.status, 404);
}

#[tokio::test]
async fn who_connects_and_says_nothing_keeps_no_probe_out() {
    let service = Service::start(&[]).await;
    let sidecar = Sidecar::start("a", service.admin(), &[]).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(sidecar.address).await.expect("connected"));
    }
    // They are let go by and by; the request is behind them in the queue.
    assert_eq!(sidecar.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn sigterm_waits_for_the_service_and_takes_the_report_back() {
    let redis = RedisServer::start().await;
    let service = Service::start(&[]).await;
    let first = service.connect("ann").await;
    let mut sidecar = Sidecar::reporting("a", service.admin(), &redis).await;
    sidecar.reports(&redis, 1).await;
    sidecar.program.signal("TERM");
    sidecar.program.says("asked to leave", LOCAL).await;
    // It goes on as before.
    let second = service.connect("bob").await;
    sidecar.reports(&redis, 2).await;
    drop(first);
    sidecar.reports(&redis, 1).await;
    assert!(sidecar.program.runs() && sidecar.is_indexed(&redis).await);
    assert_eq!(sidecar.get("/healthz").await.status, 200);

    drop(second);
    service.stop().await;
    assert_eq!(sidecar.program.exit_code().await, Some(0));
    assert_eq!(sidecar.report(&redis).await, None);
    assert!(!sidecar.is_indexed(&redis).await);
}

#[tokio::test]
async fn a_second_sigterm_waits_for_nothing_and_sigint_only_for_redis() {
    let redis = RedisServer::start().await;
    let service = Service::start(&[]).await;
    let mut hasty = Sidecar::reporting("a", service.admin(), &redis).await;
    let mut polite = Sidecar::reporting("b", service.admin(), &redis).await;
    hasty.reports(&redis, 0).await;
    polite.reports(&redis, 0).await;
    hasty.program.signal("TERM");
    hasty.program.says("asked to leave", LOCAL).await;
    hasty.program.signal("TERM");
    assert_eq!(hasty.program.exit_code().await, Some(0));
    assert!(hasty.report(&redis).await.is_some(), "left to expire");

    polite.program.signal("INT");
    assert_eq!(polite.program.exit_code().await, Some(0));
    assert_eq!(polite.report(&redis).await, None);
}

#[test]
fn wrong_usage_ends_with_64_and_says_what_to_do() {
    let sound =
        [("POD_NAME", "a"), ("POD_NAMESPACE", "b"), ("POD_UID", "c"), ("CONNECTION_GAUGE_FLEET", "d")];
    let told = |environment: &[(&str, &str)], arguments: &[&str]| {
        let output = command(environment, arguments).output().expect("started");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, err) = told(&[], &[]);
    assert_eq!(code, Some(64));
    for variable in ["POD_NAME", "POD_NAMESPACE", "POD_UID", "CONNECTION_GAUGE_FLEET"] {
        assert!(err.contains(&format!("is missing: give it, or set {variable}")), "{err}");
    }
    for (arguments, part) in [
        (&["--status-url", "ftp://ws"][..], "http://HOST:PORT/status"),
        (&["--redis-url", "http://:hush@redis"], "give redis://"),
        (&["--prot", "1"], "--port"),
        (&["more"], "unexpected argument"),
    ] {
        let (code, err) = told(&sound, arguments);
        assert_eq!(code, Some(64), "{arguments:?}");
        assert!(err.starts_with("error: ") && err.contains(part) && !err.contains("hush"), "{err}");
    }
    let output = command(&[("WEBSOCKET_SERVICE_REDIS_URL", "redis://:hush@redis")], &["--help"]).output();
    let output = output.expect("started");
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && help.contains("--redis-url-file") && !help.contains("hush"), "{help}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let service = Service::start(&[]).await;
    let address = service.admin();
    let port = address.port().to_string();
    let sound =
        [("POD_NAME", "a"), ("POD_NAMESPACE", "b"), ("POD_UID", "c"), ("CONNECTION_GAUGE_FLEET", "d")];
    let output = command(&sound, &["--host", "127.0.0.1", "--port", &port]).output().expect("started");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.starts_with(&format!("connection-gauge: cannot listen on 127.0.0.1:{port}")), "{err}");
}
