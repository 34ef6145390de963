//! The examples of docs/clients.md in v1 mode: what they print over a drain, and over a gap; when they ask for a token, and
//! when they do not come back.

use serde_json::Value;
use websocket_service::drain::Phase;

use crate::clients::{EXAMPLES, RECONNECT, until_connected};
use crate::support::http;
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use crate::support::service::{Service, token};
use crate::support::{LOCAL, within};

/// A service that invites its clients back within a second.
async fn start(redis: &RedisServer, port: &str) -> Service {
    let drain = [("DRAIN_LAME_DUCK_SECONDS", "0"), ("DRAIN_SPREAD_SECONDS", "1"), ("PORT", port)];
    Service::start_on(&redis.url(), &drain).await
}

/// Publishes `{"n":…}` for each number; returns the last one's id.
async fn publish(service: &Service, numbers: impl IntoIterator<Item = u32>) -> String {
    let mut id = String::new();
    for n in numbers {
        let answer = service.publish("ann", &format!(r#"{{"n":{n}}}"#)).await;
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        id = body["id"].as_str().expect("an id").to_owned();
    }
    id
}

/// The examples as `ann`, each with its hello read.
async fn clients(service: &Service, count: usize) -> Vec<Program> {
    let arguments = ["--token", &token("ann"), "--count", &count.to_string()];
    let mut clients: Vec<Program> =
        EXAMPLES.iter().map(|example| Program::start(&mut example(&service.url(""), &arguments))).collect();
    for client in &mut clients {
        client.notes("hello, resumed: false", LOCAL).await;
    }
    clients
}

async fn assert_printed(clients: Vec<Program>, expected: &[&str]) {
    for mut client in clients {
        assert_eq!(client.exit_code().await, Some(0), "{}", client.text());
        assert_eq!(client.out(), expected, "{}", client.text());
    }
}

#[tokio::test]
async fn the_examples_resume_over_a_drain_without_loss_or_repetition() {
    let redis = RedisServer::start().await;
    // Takes what is published while the clients are away.
    let other = start(&redis, "0").await;
    let service = start(&redis, "0").await;
    let port = service.public().port().to_string();
    let mut clients = clients(&service, 7).await;
    publish(&other, 1..=2).await;
    redis.publish("ann", b"bare").await;
    for client in &mut clients {
        client.says("bare", LOCAL).await;
    }

    service.drain.start();
    for client in &mut clients {
        let line = client.notes("asked to come back in ", LOCAL).await;
        assert!(line.ends_with(" s: drain"), "{line}");
    }
    within("the drain", LOCAL, service.drain.reached(Phase::Drained)).await;
    service.stop().await;
    publish(&other, 3..=4).await;
    let service = start(&redis, &port).await;
    for client in &mut clients {
        client.notes("hello, resumed: true", RECONNECT).await;
    }
    until_connected(&service, 2).await;
    publish(&other, 5..=6).await;
    let expected =
        [r#"{"n":1}"#, r#"{"n":2}"#, "bare", r#"{"n":3}"#, r#"{"n":4}"#, r#"{"n":5}"#, r#"{"n":6}"#];
    assert_printed(clients, &expected).await;
}

#[tokio::test]
async fn across_a_gap_the_examples_say_so_and_print_nothing_twice() {
    let redis = RedisServer::start().await;
    let other = start(&redis, "0").await;
    let service = start(&redis, "0").await;
    let port = service.public().port().to_string();
    let mut clients = clients(&service, 6).await;
    let lost = publish(&other, 1..=3).await;
    for client in &mut clients {
        client.says(r#"{"n":3}"#, LOCAL).await;
    }

    service.replace().await;
    // As after a failover to a replica that had not seen the last message: what is left is sent again behind the gap.
    let deleted: u64 = redis.run("XDEL", &[b"{ws:ann}:history", lost.as_bytes()]).await;
    assert_eq!(deleted, 1);
    publish(&other, 4..=5).await;
    let _service = start(&redis, &port).await;
    for client in &mut clients {
        client.notes(&format!("gap after {lost}"), RECONNECT).await;
    }
    publish(&other, [6]).await;
    let expected: Vec<String> = (1..=6).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_printed(clients, &expected).await;
}

#[tokio::test]
async fn the_examples_ask_for_a_new_token_and_leave_when_an_operator_ends_them() {
    let service = Service::start(&[]).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut clients = Vec::new();
    for (number, example) in EXAMPLES.into_iter().enumerate() {
        let asked = folder.path().join(number.to_string()).display().to_string();
        // No good at first.
        let command = format!("test -e {asked} && echo {} || {{ touch {asked}; echo a.b.c; }}", token("ann"));
        clients.push(Program::start(&mut example(&service.url(""), &["--token-command", &command])));
    }
    for client in &mut clients {
        client.notes("closed, 1008: Token is", LOCAL).await;
        client.notes("hello, resumed: false", RECONNECT).await;
    }
    let answer = http::request(service.admin(), "DELETE", "/v1/users/ann/connections", &[], b"").await;
    assert!(answer.status < 300, "{answer:?}");
    for client in &mut clients {
        client.notes("closed, 4004: ", LOCAL).await;
        assert_eq!(client.exit_code().await, Some(1), "{}", client.text());
    }
}
