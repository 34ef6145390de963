//! `connections USER`: where a user is, how far each connection got, and why its last one was closed.

use serde_json::{Value, json};

use crate::commands::run;
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::http::{self, escape};
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::sidecar::Sidecar;
use crate::support::{LOCAL, eventually};

/// Every kind of character that a path takes for something else.
const USER: &str = "zoë/../ {smith}?a=50%#b+c";

/// Two pods on one Redis, each with its sidecar.
struct Fleet {
    redis: RedisServer,
    one: Daemon,
    two: Daemon,
    _first: Sidecar,
    second: Sidecar,
}

impl Fleet {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let url = redis.url();
        let settings = [("REDIS_URL", url.as_str())];
        let (one, two) = (Daemon::start(&settings).await, Daemon::start(&settings).await);
        let first = Sidecar::reporting("a", one.admin, &redis).await;
        let second = Sidecar::reporting("b", two.admin, &redis).await;
        first.reports(&redis, 0).await;
        second.reports(&redis, 0).await;
        Self { redis, one, two, _first: first, second }
    }

    /// What the command prints, and its exit code.
    async fn asked(&self, more: &[&str]) -> (Option<i32>, String) {
        let url = self.redis.url();
        let arguments = [&["connections", USER, "--fleet", "chat/ws"], more].concat();
        run(&[("REDIS_URL", &url)], &arguments).await
    }

    /// The same as JSON.
    async fn found(&self) -> (Option<i32>, Value) {
        let (code, said) = self.asked(&["--json"]).await;
        (code, serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
    }
}

/// A client in v1 mode, its hello read.
async fn v1(daemon: &Daemon) -> Client {
    let offer = [("Sec-WebSocket-Protocol", "websocket-service.v1")];
    let mut client = Client::connect_with(&daemon.url(USER), &offer).await.expect("taken");
    assert!(client.text().await.contains("hello"));
    client
}

#[tokio::test]
async fn a_user_is_found_on_every_pod_with_how_far_each_connection_got() {
    let fleet = Fleet::start().await;
    let (code, found) = fleet.found().await;
    assert_eq!(code, Some(0));
    let nowhere =
        json!({ "user_id": USER, "pods": 2, "connections": [], "last_close": null, "unanswered": [] });
    assert_eq!(found, nowhere);

    let mut plain = fleet.one.connect(USER).await;
    let mut v1 = v1(&fleet.two).await;
    let _other = fleet.one.connect("other").await;
    let (_, found) = fleet.found().await;
    assert_eq!(found["connections"][0]["last_id"], Value::Null, "nothing was sent yet");
    let answer = fleet.one.publish(USER, r#"{"n":1}"#).await.json();
    let id = answer["id"].as_str().expect("an id");
    plain.text().await;
    v1.text().await;

    let (_, found) = fleet.found().await;
    let connections = found["connections"].as_array().expect("a list");
    assert_eq!(connections.len(), 2, "{found}");
    for (connection, mode) in connections.iter().zip(["plain", "v1"]) {
        assert_eq!((&connection["mode"], &connection["last_id"]), (&json!(mode), &json!(id)));
        assert_eq!((&connection["queued_messages"], &connection["queued_bytes"]), (&json!(0), &json!(0)));
        assert_eq!(connection["address"], "127.0.0.1");
    }
    let (code, said) = fleet.asked(&[]).await;
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("POD ") && lines[0].ends_with("  LAST ID"), "{said}");
    assert!(lines[1].contains(" plain ") && lines[1].ends_with(id), "{said}");
    assert!(lines[2].contains(" v1 ") && lines[2].ends_with(id), "{said}");
}

#[tokio::test]
async fn the_last_close_is_told_with_its_reason() {
    let fleet = Fleet::start().await;
    let gone = fleet.one.connect(USER).await;
    let (_, found) = fleet.found().await;
    let path = format!("/v1/users/{}/connections", escape(USER));
    http::request(fleet.one.admin, "DELETE", &path, &[], b"").await;
    assert_eq!(gone.closed().await.code, 4004);
    let mut close = Value::Null;
    eventually("the close is remembered", LOCAL, async || {
        close = fleet.found().await.1["last_close"].clone();
        !close.is_null()
    })
    .await;
    assert_eq!((&close["code"], &close["reason"]), (&json!(4004), &json!("Disconnected")));
    assert_eq!(close["connection_id"], found["connections"][0]["connection_id"]);
    assert_eq!(close["pod"], found["connections"][0]["pod"]);
    let (code, said) = fleet.asked(&[]).await;
    assert_eq!(code, Some(0));
    assert!(
        said.contains("has no connection on the 2 pods") && said.contains("code 4004: Disconnected"),
        "{said}"
    );
}

#[tokio::test]
async fn a_pod_that_does_not_answer_is_named_and_the_answer_incomplete() {
    let Fleet { redis, one, mut two, _first, mut second } = Fleet::start().await;
    let _client = one.connect(USER).await;
    // Both die at once, and what they told last stays.
    second.program.signal("KILL");
    two.program.signal("KILL");
    second.program.exit(LOCAL).await;
    two.program.exit(LOCAL).await;
    redis.run::<()>("PERSIST", &[second.key().as_bytes()]).await;
    let fleet = Fleet { redis, one, two, _first, second };

    let (code, found) = fleet.found().await;
    assert_eq!(code, Some(1));
    assert_eq!((&found["pods"], found["connections"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    let unanswered = &found["unanswered"][0];
    assert_eq!(unanswered["pod"], "pod-b");
    assert!(unanswered["reason"].as_str().is_some_and(|reason| reason.contains("refused")), "{found}");
    let (code, said) = fleet.asked(&[]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("incomplete: no answer of pod-b: http://127.0.0.1:"), "{said}");

    // Its report is gone at last.
    fleet.redis.run::<()>("DEL", &[fleet.second.key().as_bytes()]).await;
    let (code, found) = fleet.found().await;
    assert_eq!((code, &found["unanswered"][0]["pod"]), (Some(1), &json!("b")));
}

#[tokio::test]
async fn without_redis_the_pods_that_are_named_are_asked() {
    let service = Service::start(&[]).await;
    let _client = service.connect("..").await;
    let port = service.admin().port().to_string();
    let (code, said) = run(&[("ADMIN_PORT", &port)], &["connections", ".."]).await;
    assert_eq!(code, Some(0));
    assert!(said.lines().nth(1).is_some_and(|line| line.contains("127.0.0.1")), "{said}");

    let (here, nowhere) = (format!("http://{}", service.admin()), "http://127.0.0.1:1");
    let (code, said) = run(&[], &["connections", "..", "--json", "--url", &here, "--url", nowhere]).await;
    let found: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, found["connections"].as_array().map(Vec::len)), (Some(1), Some(1)));
    assert_eq!(found["unanswered"][0]["pod"], nowhere);
    let (code, said) = run(&[], &["connections", "..", "--url", nowhere]).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("no pod answered\n") && said.contains(nowhere), "{said}");
    assert_eq!(run(&[], &["connections", ""]).await, (Some(1), String::new()), "no user id");
}
