//! Tokens that are revoked: on all pods, at once, and on those that were away.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{Client, Closed};
use crate::support::http::{self, Answer};
use crate::support::proxy::FaultProxy;
use crate::support::redis::RedisServer;
use crate::support::schema::{check_answer, check_close};
use crate::support::service::{Service, bearer, token, token_that_says};
use crate::support::{LOCAL, eventually};

async fn ask(pod: &Service, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let path = format!("/v1/revocations{path}");
    http::request(pod.admin(), method, &path, &[], body.as_bytes()).await
}

/// Revokes what the path names; returns how many pods heard it.
async fn revoke(pod: &Service, path: &str, body: Value) -> u64 {
    let answer = ask(pod, "PUT", path, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["pods"].as_u64().expect("a number")
}

async fn open(pod: &Service, token: &str) -> Client {
    Client::connect(&pod.url(&format!("?token={token}"))).await.expect("upgraded")
}

/// A client that talks with the service.
async fn talks(mut client: Client) -> Client {
    client.send("hello?".into()).await;
    assert_eq!(client.text().await, "Echo: hello?");
    client
}

fn is_revoked(closed: &Closed) {
    assert_eq!(check_close(closed, 4004, "AUTHORIZATION_ERROR"), "Token is revoked");
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A token of the user with an id, issued so many seconds from now.
fn issued(user: &str, id: &str, from_now: i64) -> String {
    token_that_says(json!({ "sub": user, "jti": id, "iat": now().saturating_add_signed(from_now) }))
}

#[tokio::test]
async fn a_user_s_tokens_are_revoked_on_every_pod_at_once() {
    let redis = RedisServer::start().await;
    let (one, two) = (Service::start_on(&redis.url(), &[]).await, Service::start_on(&redis.url(), &[]).await);
    let old = token("ann");
    let (first, second) = (open(&one, &old).await, open(&two, &old).await);
    let bob = one.connect("bob").await;
    assert_eq!(revoke(&one, "/users/ann", Value::Null).await, 2);
    is_revoked(&first.closed().await);
    is_revoked(&second.closed().await);
    for pod in [&one, &two] {
        eventually("the pod knows", LOCAL, async || pod.metric("websocket_revocations").await == 1.0).await;
        is_revoked(&open(pod, &old).await.closed().await);
    }
    talks(bob).await;
    // After a new login she is let in; and what does not say when it was issued is taken for old.
    talks(open(&two, &issued("ann", "x", 5)).await).await;
    is_revoked(&open(&two, &token_that_says(json!({ "sub": "ann" }))).await.closed().await);

    let listed = ask(&two, "GET", "", &Value::Null).await.json();
    assert_eq!(listed["revocations"][0]["user_id"], "ann", "{listed}");
    assert_eq!(ask(&two, "DELETE", "/users/ann", &Value::Null).await.json(), json!({ "lifted": true }));
    eventually("it is lifted", LOCAL, async || one.metric("websocket_revocations").await == 0.0).await;
    talks(open(&one, &old).await).await;
    check_answer(&ask(&two, "DELETE", "/users/ann", &Value::Null).await, 404, "RESOURCE_NOT_FOUND");
}

#[tokio::test]
async fn one_token_is_revoked_by_its_id_and_all_by_a_time() {
    let service = Service::start(&[]).await;
    let (one, other) = (issued("ann", "one/1", -100), issued("ann", "other", -50));
    let (first, second) = (open(&service, &one).await, open(&service, &other).await);
    assert_eq!(revoke(&service, "/tokens/one%2F1", Value::Null).await, 1);
    is_revoked(&first.closed().await);
    let second = talks(second).await;
    is_revoked(&open(&service, &one).await.closed().await);

    revoke(&service, "/everybody", json!({ "issued_before": now() - 50 - 20 })).await;
    let second = talks(second).await;
    revoke(&service, "/everybody", json!({ "issued_before": now() - 30 })).await;
    is_revoked(&second.closed().await);
    talks(open(&service, &issued("bob", "new", 0)).await).await;
    assert_eq!(ask(&service, "DELETE", "/everybody", &Value::Null).await.status, 200);
    assert_eq!(ask(&service, "DELETE", "/tokens/one%2F1", &Value::Null).await.status, 200);
    talks(open(&service, &one).await).await;
}

#[tokio::test]
async fn a_pod_that_was_away_or_comes_later_knows_all_that_was_revoked() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let one = Service::start_on(&redis.url(), &[]).await;
    let two = Service::start_on(&format!("redis://{}", proxy.address()), &[]).await;
    let old = token("ann");
    let client = open(&two, &old).await;
    proxy.cut();
    eventually("the outage shows", LOCAL, async || two.metric("websocket_backplane_up").await == 0.0).await;
    eventually("only one hears", LOCAL, async || revoke(&one, "/users/ann", Value::Null).await == 1).await;
    let client = talks(client).await;
    proxy.restore();
    is_revoked(&client.closed().await);
    is_revoked(&open(&two, &old).await.closed().await);

    let three = Service::start_on(&redis.url(), &[]).await;
    eventually("it has read them", LOCAL, async || three.metric("websocket_revocations").await == 1.0).await;
    is_revoked(&open(&three, &old).await.closed().await);
}

#[tokio::test]
async fn a_connection_goes_with_the_token_that_it_was_given_last() {
    let service = Service::start(&[]).await;
    let offer = [("Sec-WebSocket-Protocol", "websocket-service.v1")];
    let url = service.url(&format!("?token={}", issued("ann", "first", 0)));
    let mut client = Client::connect_with(&url, &offer).await.expect("upgraded");
    let auth = |id: &str| Message::text(json!({ "type": "auth", "token": issued("ann", id, 0) }).to_string());
    let ping = Message::text(json!({ "type": "ping" }).to_string());
    assert!(client.text().await.contains("hello"));
    client.send(auth("second")).await;
    revoke(&service, "/tokens/first", Value::Null).await;
    client.send(ping.clone()).await;
    let mut frames = Vec::new();
    while frames.last().is_none_or(|frame: &Value| frame["type"] != "pong") {
        frames.push(serde_json::from_str(&client.text().await).expect("JSON"));
    }
    assert!(frames.iter().all(|frame| frame["type"] != "error"), "{frames:?}");

    client.send(auth("first")).await;
    let refused: Value = serde_json::from_str(&client.text().await).expect("JSON");
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("AUTHORIZATION_ERROR"), &json!("Token is revoked"))
    );
    revoke(&service, "/tokens/second", Value::Null).await;
    is_revoked(&client.closed().await);
}

#[tokio::test]
async fn a_revocation_goes_when_it_need_not_be_kept_any_longer() {
    let redis = RedisServer::start().await;
    for service in [Service::start_on(&redis.url(), &[]).await, Service::start(&[]).await] {
        revoke(&service, "/tokens/short", json!({ "kept_until": now() + 2 })).await;
        revoke(&service, "/tokens/long", Value::Null).await;
        eventually("one is left", LOCAL, async || {
            let listed = ask(&service, "GET", "", &Value::Null).await.json();
            let left: Vec<_> = listed["revocations"].as_array().into_iter().flatten().collect();
            left.len() == 1 && left[0]["token_id"] == "long"
        })
        .await;
    }
}

#[tokio::test]
async fn back_ends_revoke_with_their_key() {
    let service = Service::start(&[]).await;
    let asked = async |path: &str, key: &str| {
        let path = format!("/v1/revocations{path}");
        http::request(service.public(), "PUT", &path, &[("Authorization", key)], b"").await
    };
    for path in ["/users/ann", "/tokens/one"] {
        check_answer(&asked(path, "Bearer nonsense").await, 401, "INVALID_API_KEY");
        assert_eq!(asked(path, &bearer()).await.status, 200);
    }
    for path in ["", "/everybody"] {
        check_answer(&asked(path, &bearer()).await, 404, "RESOURCE_NOT_FOUND");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let service = Service::start(&[]).await;
    let long = format!("/tokens/{}", "x".repeat(257));
    for (path, body) in [
        ("/everybody", json!({ "issued_before": now() * 1_000 })),
        ("/everybody", json!({ "kept_until": now() })),
        ("/everybody", json!({ "kept_until": now() * 1_000 })),
        ("/everybody", json!({ "issued_befor": 1 })),
        ("/everybody", json!([])),
        ("/users/ann", json!({ "issued_before": "yesterday" })),
        ("/tokens/one", json!({ "issued_before": 1 })),
        (&long, Value::Null),
    ] {
        check_answer(&ask(&service, "PUT", path, &body).await, 400, "VALIDATION_ERROR");
    }
    assert_eq!(ask(&service, "GET", "", &Value::Null).await.json(), json!({ "revocations": [] }));
    let mut redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    redis.stop();
    eventually("the outage shows", LOCAL, async || service.metric("websocket_backplane_up").await == 0.0)
        .await;
    check_answer(&ask(&service, "PUT", "/everybody", &Value::Null).await, 503, "SERVICE_UNAVAILABLE");
    check_answer(&ask(&service, "DELETE", "/everybody", &Value::Null).await, 503, "SERVICE_UNAVAILABLE");
}
