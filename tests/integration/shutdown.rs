//! How the process goes: signals, the drain, its exit code.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{Client, Closed};
use crate::support::daemon::Daemon;
use crate::support::redis::RedisServer;
use crate::support::{LOCAL, eventually, http, within};

/// Nothing in a test waits for this to pass.
const LONG: &str = "600";

async fn drain_starts(process: &Daemon) {
    eventually("unready", LOCAL, async || process.unready().await == ["draining"]).await;
    assert_eq!(process.admin("/status").await.json()["draining"], true);
    // Whoever drains sets the gauge, a moment after it was told to.
    eventually("the gauge says so", LOCAL, async || {
        http::metric(process.admin, "websocket_draining").await == 1.0
    })
    .await;
    assert_eq!(process.admin("/healthz").await.status, 200, "a pod that drains is not to be restarted");
}

async fn echoes(client: &mut Client) {
    client.send(Message::text("hello")).await;
    assert_eq!(client.text().await, "Echo: hello");
}

/// The fields of the log line with this message.
async fn logged(process: &mut Daemon, message: &str) -> Value {
    let line = process.program.says(&format!("\"message\":\"{message}\""), LOCAL).await;
    serde_json::from_str(&line).expect("JSON")
}

fn told(closed: &Closed) -> (u16, String, String) {
    (closed.code, closed.field("error_code"), closed.field("message"))
}

fn goes(code: u16, message: &str) -> (u16, String, String) {
    (code, "SERVICE_UNAVAILABLE".to_owned(), message.to_owned())
}

#[tokio::test]
async fn sigterm_closes_everybody_with_1012_and_exits_with_0() {
    let mut process = Daemon::start(&[("DRAIN_LAME_DUCK_SECONDS", "1")]).await;
    let clients = [process.connect("ann").await, process.connect("bob").await];
    assert!(process.unready().await.is_empty());
    let start = Instant::now();
    process.program.signal("TERM");
    for client in clients {
        assert_eq!(told(&client.closed().await), goes(1012, "Server is draining"));
    }
    assert!(start.elapsed() >= Duration::from_secs(1), "not before the lame duck is over");
    assert_eq!(process.program.exit_code().await, Some(0));
    assert_eq!(logged(&mut process, "drain finished").await["forced"], 0);
    logged(&mut process, "stopped").await;
}

#[tokio::test]
async fn the_lame_duck_takes_connections_and_a_second_sigterm_is_the_fast_path() {
    let mut process = Daemon::start(&[("DRAIN_LAME_DUCK_SECONDS", LONG)]).await;
    let mut early = process.connect("ann").await;
    process.program.signal("TERM");
    drain_starts(&process).await;
    // Endpoints take time to spread: whoever still comes is served.
    let mut late = process.connect("bob").await;
    echoes(&mut early).await;
    echoes(&mut late).await;
    assert_eq!(process.publish("bob", "hello").await.status, 202);
    assert_eq!(late.text().await, "hello");

    process.program.signal("TERM");
    for client in [early, late] {
        assert_eq!(told(&client.closed().await), goes(1012, "Server shuts down"));
    }
    assert_eq!(process.program.exit_code().await, Some(0));
}

#[tokio::test]
async fn after_the_lame_duck_upgrades_are_refused_while_the_last_ones_leave() {
    let settings = [("DRAIN_SPREAD_SECONDS", LONG), ("DRAIN_LINGER_SECONDS", LONG)];
    let mut process = Daemon::start(&settings).await;
    // It never reads, so it never answers the close; the wait for that keeps the process here.
    let silent = process.connect("ann").await;
    process.program.signal("TERM");
    drain_starts(&process).await;
    eventually("the lame duck is over", LOCAL, async || {
        let Err(answer) = Client::connect(&process.url("bob")).await else { return false };
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "SERVICE_UNAVAILABLE"));
        answer.header("retry-after").and_then(|text| text.parse::<u64>().ok()).is_some_and(|s| s > 0)
    })
    .await;
    assert_eq!(process.unready().await, ["draining"]);
    drop(silent);
    assert_eq!(process.program.exit_code().await, Some(0));
}

#[tokio::test]
async fn sigint_is_the_fast_path_at_once() {
    let mut process = Daemon::start(&[("DRAIN_LAME_DUCK_SECONDS", LONG)]).await;
    let client = process.connect("ann").await;
    process.program.signal("INT");
    assert_eq!(told(&client.closed().await), goes(1012, "Server shuts down"));
    assert_eq!(process.program.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_client_that_never_answers_is_cut_and_counted_and_the_exit_code_is_0() {
    let settings = [("DRAIN_SPREAD_SECONDS", "0"), ("DRAIN_LINGER_SECONDS", "1")];
    let mut process = Daemon::start(&settings).await;
    let _silent = process.connect("ann").await;
    let start = Instant::now();
    process.program.signal("TERM");
    assert_eq!(process.program.exit_code().await, Some(0));
    assert!(start.elapsed() >= Duration::from_secs(1), "it has its linger to answer");
    assert_eq!(logged(&mut process, "drain finished").await["forced"], 1);
}

#[tokio::test]
async fn the_close_code_can_be_1001() {
    let mut process = Daemon::start(&[("DRAIN_CLOSE_CODE", "1001")]).await;
    let client = process.connect("ann").await;
    process.program.signal("TERM");
    assert_eq!(told(&client.closed().await), goes(1001, "Server is draining"));
    assert_eq!(process.program.exit_code().await, Some(0));
}

#[tokio::test]
async fn post_drain_takes_the_same_steps_and_the_process_stays_until_sigterm() {
    let settings = [("DRAIN_SPREAD_SECONDS", "0"), ("DRAIN_LINGER_SECONDS", "1")];
    let mut process = Daemon::start(&settings).await;
    let client = process.connect("ann").await;
    let _silent = process.connect("bob").await;
    let answer = http::request(process.admin, "POST", "/drain", &[], b"").await;
    assert_eq!(answer.status, 202);
    drain_starts(&process).await;
    assert_eq!(told(&client.closed().await), goes(1012, "Server is draining"));
    eventually("the silent one is counted", LOCAL, async || {
        http::metric(process.admin, "websocket_drain_forced_total").await == 1.0
    })
    .await;
    logged(&mut process, "drain finished").await;
    assert_eq!(http::metric(process.admin, "websocket_drain_remaining").await, 0.0);
    // Drained, and still there: unready, refusing, answering.
    assert_eq!(process.unready().await, ["draining"]);
    assert_eq!(Client::connect(&process.url("ann")).await.err().map(|answer| answer.status), Some(503));
    assert!(process.program.runs());
    process.program.signal("TERM");
    assert_eq!(within("the exit", LOCAL, process.program.exit_code()).await, Some(0));
}

#[tokio::test]
async fn nobody_connected_is_drained_at_once() {
    let mut process = Daemon::start(&[("DRAIN_SPREAD_SECONDS", LONG), ("DRAIN_LINGER_SECONDS", LONG)]).await;
    process.program.signal("TERM");
    assert_eq!(process.program.exit_code().await, Some(0));
}

#[tokio::test]
async fn redis_away_does_not_hold_it_back() {
    let mut redis = RedisServer::start().await;
    let url = redis.url();
    let mut process = Daemon::start(&[("REDIS_URL", &url)]).await;
    let client = process.connect("ann").await;
    redis.stop();
    eventually("degraded", LOCAL, async || process.admin("/status").await.json()["backplane"] == "degraded")
        .await;
    // An upgrade waits for a subscription that will not come; it is answered before the process goes.
    let url = process.url("bob");
    let upgrade = tokio::spawn(async move { Client::connect(&url).await.err().map(|answer| answer.status) });
    let verified = r#"jwt_validation_total{result="success"} 2"#;
    eventually("its token is verified, and it waits", LOCAL, async || {
        String::from_utf8_lossy(&process.admin("/metrics").await.body).contains(verified)
    })
    .await;
    let start = Instant::now();
    process.program.signal("TERM");
    assert_eq!(told(&client.closed().await), goes(1012, "Server is draining"));
    assert_eq!(upgrade.await.expect("no panic"), Some(503));
    assert_eq!(process.program.exit_code().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(logged(&mut process, "drain finished").await["forced"], 0);
}
