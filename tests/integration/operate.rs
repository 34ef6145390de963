//! What probes, operators and the sidecar ask: health, readiness, status, log level, drain, a user's connections.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use websocket_service::drain::Phase;

use crate::support::http::{self, Answer};
use crate::support::raw::Raw;
use crate::support::schema::{check_answer, check_close};
use crate::support::service::{Service, bearer, token};
use crate::support::{LOCAL, eventually, within};

async fn admin(service: &Service, method: &str, path: &str, body: &[u8]) -> Answer {
    http::request(service.admin(), method, path, &[], body).await
}

#[tokio::test]
async fn a_new_pod_is_alive_ready_and_says_what_it_is() {
    let service = Service::start(&[("MAX_CONNECTIONS", "7")]).await;
    for address in [service.public(), service.admin()] {
        assert_eq!(http::request(address, "GET", "/healthz", &[], b"").await.status, 200);
    }
    eventually("ready", LOCAL, async || admin(&service, "GET", "/readyz", b"").await.status == 200).await;
    assert_eq!(service.admin_json("/readyz").await, json!({ "ready": true, "reasons": [] }));

    let (_a, _b, _c) =
        (service.connect("ann").await, service.connect("ann").await, service.connect("bob").await);
    eventually("all are counted", LOCAL, async || service.admin_json("/status").await["connections"] == 3)
        .await;
    let status = service.admin_json("/status").await;
    assert_eq!((&status["limit"], &status["users"]), (&json!(7), &json!(2)));
    assert_eq!((&status["draining"], &status["backplane"]), (&json!(false), &json!("up")));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["messages_sent"], &status["outbox_bytes"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn a_pod_that_never_saw_its_redis_is_alive_and_unready() {
    // Nobody listens on port 1.
    let service = Service::start_on("redis://127.0.0.1:1", &[]).await;
    let ready = admin(&service, "GET", "/readyz", b"").await;
    assert_eq!((ready.status, ready.json()), (503, json!({ "ready": false, "reasons": ["backplane"] })));
    assert_eq!(admin(&service, "GET", "/healthz", b"").await.status, 200);
    assert_eq!(service.admin_json("/status").await["backplane"], "connecting");
    assert_eq!(service.metric("websocket_backplane_up").await, 0.0);
    let query = format!("?token={}", token("ann"));
    let answer = Raw::open(service.public(), &query, &[]).await.err().expect("refused");
    check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    let answer = service.publish("ann", "x").await;
    check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(service.metric("websocket_messages_failed_total{error_type=\"publish_failed\"}").await, 1.0);
}

#[tokio::test]
async fn each_port_has_its_own_paths_only() {
    let service = Service::start(&[]).await;
    for (method, path) in [
        ("GET", "/readyz"),
        ("GET", "/status"),
        ("POST", "/drain"),
        ("PUT", "/log-level"),
        ("GET", "/v1/users/ann/connections"),
        ("DELETE", "/v1/users/ann/connections"),
        // The page of development.
        ("GET", "/"),
    ] {
        let answer =
            http::request(service.public(), method, path, &[("authorization", &bearer())], b"").await;
        check_answer(&answer, 404, "RESOURCE_NOT_FOUND");
    }
    for (method, path) in
        [("GET", "/ws"), ("POST", "/v1/messages"), ("POST", "/v1/users/ann/messages"), ("GET", "/")]
    {
        let answer =
            http::request(service.admin(), method, path, &[("authorization", &bearer())], b"[]").await;
        check_answer(&answer, 404, "RESOURCE_NOT_FOUND");
    }
    let metrics = http::request(service.public(), "GET", "/metrics", &[], b"").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    let private = Service::start(&[("PUBLIC_METRICS", "false")]).await;
    check_answer(
        &http::request(private.public(), "GET", "/metrics", &[], b"").await,
        404,
        "RESOURCE_NOT_FOUND",
    );
    assert_eq!(admin(&private, "GET", "/metrics", b"").await.status, 200);
}

#[tokio::test]
async fn the_log_level_is_changed_or_the_fault_told() {
    let service = Service::start(&[]).await;
    for body in [
        r#"{"level":"debug"}"#,
        r#"{"level":"WARNING"}"#,
        r#"{"level":"TRACE","module":"websocket_service::session"}"#,
    ] {
        let answer = admin(&service, "PUT", "/log-level", body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{body}");
    }
    for body in [
        "",
        "debug",
        "{}",
        r#"{"level":"loud"}"#,
        r#"{"level":5}"#,
        r#"{"level":"debug","modul":"x"}"#,
        // Libraries log requests, and with them tokens.
        r#"{"level":"trace","module":"hyper"}"#,
    ] {
        check_answer(&admin(&service, "PUT", "/log-level", body.as_bytes()).await, 400, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn a_drain_by_request_closes_everybody_and_the_process_stays() {
    let service = Service::start(&[("DRAIN_LAME_DUCK_SECONDS", "0"), ("DRAIN_SPREAD_SECONDS", "1")]).await;
    let client = service.connect("ann").await;
    let answer = admin(&service, "POST", "/drain", b"").await;
    assert_eq!((answer.status, answer.json()["draining"].as_bool()), (202, Some(true)));
    check_close(&client.closed().await, 1012, "SERVICE_UNAVAILABLE");
    eventually("nobody is left", LOCAL, async || service.admin_json("/status").await["connections"] == 0)
        .await;
    let ready = admin(&service, "GET", "/readyz", b"").await;
    assert_eq!((ready.status, ready.json()["reasons"].clone()), (503, json!(["draining"])));
    assert_eq!(service.admin_json("/status").await["draining"], true);
    assert_eq!(service.metric("websocket_draining").await, 1.0);
    assert_eq!(admin(&service, "GET", "/healthz", b"").await.status, 200, "it lives");
    assert_eq!(service.publish("ann", "x").await.status, 202, "publishers are served to the end");
    assert_eq!(admin(&service, "POST", "/drain", b"").await.status, 202, "again is no error");
    service.stop().await;
}

#[tokio::test]
async fn a_drain_with_nobody_connected_takes_the_same_steps() {
    let service = Service::start(&[("DRAIN_LAME_DUCK_SECONDS", "0")]).await;
    assert_eq!(admin(&service, "POST", "/drain", b"").await.status, 202);
    within("the drain", LOCAL, service.drain.reached(Phase::Drained)).await;
    assert_eq!(admin(&service, "GET", "/readyz", b"").await.status, 503);
    assert_eq!(service.admin_json("/status").await["draining"], true);
    let query = format!("?token={}", token("ann"));
    let answer = Raw::open(service.public(), &query, &[]).await.err().expect("refused");
    check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn the_drain_s_code_may_be_1001() {
    let service = Service::start(&[("DRAIN_LAME_DUCK_SECONDS", "0"), ("DRAIN_CLOSE_CODE", "1001")]).await;
    let client = service.connect("ann").await;
    admin(&service, "POST", "/drain", b"").await;
    check_close(&client.closed().await, 1001, "SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn a_user_s_connections_are_listed_and_closed() {
    let service = Service::start(&[]).await;
    let path = "/v1/users/ann/connections";
    assert_eq!(
        service.admin_json(path).await,
        json!({ "connections": [], "last_close": null, "scope": "fleet" })
    );
    let (first, second) = (service.connect("ann").await, service.connect("ann").await);
    let mut other = service.connect("bob").await;
    let listed = service.admin_json(path).await;
    let listed = listed["connections"].as_array().expect("a list");
    assert_eq!(listed.len(), 2);
    for connection in listed {
        for field in ["connection_id", "pod", "since"] {
            assert!(connection[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
        }
        assert_eq!(connection["address"], "127.0.0.1");
    }
    assert_ne!(listed[0]["connection_id"], listed[1]["connection_id"]);
    let answer = admin(&service, "DELETE", path, b"").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "closed": 2 })));
    check_close(&first.closed().await, 4004, "AUTHORIZATION_ERROR");
    check_close(&second.closed().await, 4004, "AUTHORIZATION_ERROR");
    service.publish("bob", "not you").await;
    assert_eq!(other.text().await, "not you");
}

fn moment(value: &Value) -> OffsetDateTime {
    let text = value.as_str().unwrap_or_default();
    OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|error| panic!("{value}: {error}"))
}

/// A user's last close, once it is another than that of the connection before.
async fn last_close(service: &Service, user: &str, before: &Value) -> Value {
    let path = format!("/v1/users/{user}/connections");
    let mut close = Value::Null;
    eventually("the close is remembered", LOCAL, async || {
        close = service.admin_json(&path).await["last_close"].clone();
        close["connection_id"] != before["connection_id"]
    })
    .await;
    close
}

#[tokio::test]
async fn the_end_of_a_user_s_last_connection_is_remembered() {
    let service = Service::start(&[]).await;
    let client = service.connect("ann").await;
    let open = service.admin_json("/v1/users/ann/connections").await["connections"][0].clone();
    drop(client);
    let lost = last_close(&service, "ann", &Value::Null).await;
    assert_eq!((&lost["connection_id"], &lost["pod"]), (&open["connection_id"], &open["pod"]));
    assert_eq!((&lost["code"], &lost["reason"]), (&json!(1006), &json!("lost without a close frame")));
    assert!(moment(&lost["at"]) >= moment(&open["since"]), "{lost}");
    assert!(lost["lasted_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{lost}");

    let mut client = service.connect("ann").await;
    client.socket.close(None).await.expect("open");
    client.closed().await;
    let left = last_close(&service, "ann", &lost).await;
    assert_eq!((&left["code"], &left["reason"]), (&json!(1000), &json!("the client closed")));

    let mut client = service.connect("ann").await;
    client.send(tokio_tungstenite::tungstenite::Message::binary(vec![1])).await;
    check_close(&client.closed().await, 1003, "VALIDATION_ERROR");
    let refused = last_close(&service, "ann", &left).await;
    assert_eq!(refused["code"], 1003);
    assert_eq!(service.admin_json("/v1/users/bob/connections").await["last_close"], Value::Null);
}

#[tokio::test]
async fn what_waits_for_a_client_that_does_not_read_is_told() {
    let service = Service::start(&[("OUTBOX_POLICY", "drop_oldest")]).await;
    let _client = service.connect("ann").await;
    let message = "x".repeat(60_000);
    // The kernel may still take some of it between two answers, so both are asked until they agree.
    eventually("messages wait, and the pod says the same of all its connections", LOCAL, async || {
        let connection = service.admin_json("/v1/users/ann/connections").await["connections"][0].clone();
        let status = service.admin_json("/status").await;
        let messages = connection["queued_messages"].as_u64().expect("a number");
        assert_eq!(connection["queued_bytes"], messages * 60_000);
        if messages == 0 {
            service.publish("ann", &message).await;
        }
        messages > 0 && status["outbox_bytes"] == connection["queued_bytes"] && status["messages_sent"] != 0
    })
    .await;
}
