//! `websocket-bench` against services: what it counts, and what its probe says.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::http;
use crate::support::program::Program;
use crate::support::proxy::FaultProxy;
use crate::support::redis::RedisServer;
use crate::support::service::{SECRET, Service};
use crate::support::{LOCAL, eventually};

/// A command of the bench against this address.
pub(crate) fn bench(command: &str, address: SocketAddr, arguments: &[&str]) -> Program {
    let mut process = Command::new(env!("CARGO_BIN_EXE_websocket-bench"));
    process.env_clear().stdin(Stdio::null());
    process.arg(command).args(["--url", &format!("ws://{address}/ws")]).args(arguments);
    // Where coverage is measured, the process's counts as well.
    #[expect(clippy::disallowed_methods, reason = "no setting of the service")]
    if let Some(file) = std::env::var_os("LLVM_PROFILE_FILE") {
        process.env("LLVM_PROFILE_FILE", file);
    }
    Program::start(&mut process)
}

fn clients(address: SocketAddr, arguments: &[&str]) -> Program {
    bench("clients", address, &[&["--secret", SECRET], arguments].concat())
}

/// An address where nobody listens, and where nobody who asks for a free port is sent.
fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn lines(program: &Program) -> Vec<Value> {
    program.out().iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The first line of the report of which this is true.
async fn line(program: &Program, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    eventually(what, LOCAL, async || {
        found = lines(program).into_iter().find(|line| wanted(line));
        found.is_some()
    })
    .await;
    found.expect("it was waited for")
}

/// Ends it as a cluster does, and returns its last line.
async fn ended(mut program: Program) -> Value {
    program.signal("TERM");
    assert_eq!(program.exit_code().await, Some(0), "{}", program.text());
    let last = lines(&program).pop().expect("a last line");
    assert_eq!(last["final"], true);
    last
}

async fn disconnect(service: &Service, user: &str) {
    let path = format!("/v1/users/{user}/connections");
    assert_eq!(http::request(service.admin(), "DELETE", &path, &[], b"").await.status, 200);
}

#[tokio::test]
async fn connections_and_messages_are_counted_and_all_leave_at_the_end() {
    let service = Service::start(&[]).await;
    let program = clients(service.public(), &["--users", "3", "--connections-per-user", "2"]);
    line(&program, "all are open", |line| line["open"] == 6 && line["opened"] == 6).await;
    assert_eq!(service.admin_json("/status").await["users"], 3);
    for user in ["u0", "u2", "u3"] {
        service.publish(user, "hello").await;
    }
    line(&program, "four messages: u3 is nobody", |line| line["messages"] == 4).await;
    let last = ended(program).await;
    let none = json!({});
    assert_eq!((&last["open"], &last["left"], &last["messages"]), (&json!(0), &json!(6), &json!(4)));
    assert_eq!((&last["closes"], &last["refused"], &last["connect_errors"]), (&none, &none, &json!(0)));
    eventually("the service saw them leave", LOCAL, async || {
        service.admin_json("/status").await["connections"] == 0
    })
    .await;
    assert_eq!(service.metric("websocket_closes_total{code=\"1000\"}").await, 6.0);
}

#[tokio::test]
async fn a_closed_connection_comes_back_unless_it_is_to_stay_closed() {
    let service = Service::start(&[]).await;
    let back = clients(service.public(), &["--users", "2"]);
    let held = clients(service.public(), &["--users", "2", "--user-prefix", "held-", "--hold"]);
    for program in [&back, &held] {
        line(program, "both are open", |line| line["open"] == 2).await;
    }
    disconnect(&service, "u1").await;
    disconnect(&service, "held-1").await;
    let closed = json!({ "4004": 1 });
    let line_back = line(&back, "it is back", |line| line["opened"] == 3 && line["open"] == 2).await;
    assert_eq!((&line_back["closes"], &line_back["reconnects_total"]), (&closed, &json!(1)));
    let line_held = line(&held, "it is counted", |line| line["closes"] == closed).await;
    assert_eq!((&line_held["open"], &line_held["reconnects_total"]), (&json!(1), &json!(0)));
    let seconds: u64 = lines(&back).iter().filter_map(|line| line["reconnects"].as_u64()).sum();
    assert_eq!(seconds, 1, "in one second and no other");
    assert_eq!(ended(held).await["opened"], 2);
    assert_eq!(ended(back).await["opened"], 3);
}

#[tokio::test]
async fn a_silent_connection_counts_as_lost() {
    // Its first ping would come after 30 s.
    let service = Service::start(&[]).await;
    let program = clients(service.public(), &["--users", "1", "--silence", "1"]);
    let seen = line(&program, "a reconnect", |line| line["reconnects_total"].as_u64() > Some(0)).await;
    assert_eq!(seen["closes"], json!({ "1006": seen["closes"]["1006"] }));
    ended(program).await;
}

#[tokio::test]
async fn what_is_refused_or_lost_is_told_apart() {
    let service = Service::start(&[("MAX_CONNECTIONS", "1")]).await;
    let proxy = FaultProxy::start(service.public().to_string()).await;
    let program = clients(proxy.address().parse().expect("an address"), &["--users", "2"]);
    let refused = line(&program, "one is refused", |line| line["refused"]["503"].as_u64() > Some(0)).await;
    assert_eq!((&refused["open"], &refused["connect_errors"]), (&json!(1), &json!(0)));
    proxy.cut();
    let lost = line(&program, "the other is lost", |line| line["open"] == 0).await;
    assert_eq!(lost["closes"], json!({ "1006": 1 }));
    line(&program, "nobody listens any more", |line| {
        line["connect_errors"].as_u64() > Some(0)
            && line["connect_errors"] == line["connect_errors_by_kind"]["refused"]
    })
    .await;
    ended(program).await;
}

#[tokio::test]
async fn a_refusal_that_says_so_is_stayed_away_from() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let answer = b"HTTP/1.1 503 Full\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    // Without the header the fourth attempt would be made after 1.5 s at the latest.
    let mut program = clients(address, &["--users", "1", "--seconds", "2"]);
    assert_eq!(program.exit_code().await, Some(0), "the time is over");
    let last = lines(&program).pop().expect("a last line");
    assert_eq!((&last["refused"], &last["final"]), (&json!({ "503": 1 }), &json!(true)));
}

#[tokio::test]
async fn wrong_usage_and_a_missing_key_are_told() {
    let mut program = bench("clients", nobody(), &["--users", "1"]);
    assert_eq!(program.exit_code().await, Some(64));
    let mut program = bench("clients", nobody(), &["--users", "1", "--secret-file", "/nowhere"]);
    assert_eq!(program.exit_code().await, Some(1));
    assert!(program.text().contains("cannot read the secret file /nowhere"), "{}", program.text());
}

/// Probes; its exit code and what it said.
async fn probe(address: SocketAddr, redis: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let own = ["--redis-url", redis];
    let mut program = bench("probe", address, &[&own, arguments].concat());
    let code = program.exit_code().await;
    (code, program.text())
}

#[tokio::test]
async fn a_probe_sees_its_message_through() {
    let redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (key, url) = (folder.path().join("key"), folder.path().join("url"));
    std::fs::write(&key, format!("{SECRET}\n")).expect("written");
    std::fs::write(&url, format!("{}\n", redis.url())).expect("written");
    let (key, url) = (key.display().to_string(), url.display().to_string());
    let files = ["--secret-file", &key, "--redis-url-file", &url, "--user", "zoë: {smith}"];
    let mut program = bench("probe", service.public(), &files);
    assert_eq!(program.exit_code().await, Some(0), "{}", program.text());
    let said = program.out();
    assert!(said.len() == 1 && said[0].contains("arrived"), "{said:?}");
    assert_eq!(service.metric("websocket_closes_total{code=\"1000\"}").await, 1.0);
}

#[tokio::test]
async fn a_probe_names_the_step_that_failed() {
    let (redis, other) = (RedisServer::start().await, RedisServer::start().await);
    let service = Service::start_on(&redis.url(), &[("WEBSOCKET_CHANNEL_PREFIX", "ws:")]).await;
    let strict = Service::start(&[("REJECT_WITH", "http")]).await;
    let (good, bad) = (["--secret", SECRET], ["--secret", "another-key-that-is-long-enough-0123456789"]);
    let soon = [&good[..], &["--timeout", "1"]].concat();
    let mut gone = RedisServer::start().await;
    gone.stop();

    let public = service.public();
    for (address, url, arguments, part) in [
        (nobody(), redis.url(), &good[..], "cannot connect to 127.0.0.1:1: Connection refused"),
        (strict.public(), redis.url(), &bad, "the upgrade was refused with 401: {"),
        (public, redis.url(), &bad, "the service closed the connection with 1008 before the message arrived"),
        (
            public,
            gone.url(),
            &soon,
            "connected, but the message cannot be published: cannot connect to Redis",
        ),
        (public, "http://redis".to_owned(), &good, "cannot be published: REDIS_URL cannot be used"),
        (public, other.url(), &soon, "nobody listened to the user's channel"),
    ] {
        let (code, said) = probe(address, &url, arguments).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(part), "{part} in {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[tokio::test]
async fn a_probe_tells_a_deaf_service_from_a_deaf_channel() {
    let (redis, other) = (RedisServer::start().await, RedisServer::start().await);
    let service = Service::start_on(&redis.url(), &[]).await;
    // Somebody else listens on the Redis that the service does not use.
    let stranger = Service::start_on(&other.url(), &[]).await;
    let _client = stranger.connect("ann").await;
    let arguments = ["--secret", SECRET, "--user", "ann", "--timeout", "1"];
    let (code, said) = probe(service.public(), &other.url(), &arguments).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the message was published and did not arrive within 1s"), "{said}");
}

#[tokio::test]
async fn a_low_soft_limit_of_open_files_is_raised() {
    let service = Service::start(&[]).await;
    let (program, url) = (env!("CARGO_BIN_EXE_websocket-bench"), service.url(""));
    let script = format!(
        "ulimit -Sn 64 && ulimit -Hn 1000 && exec '{program}' clients --url '{url}' --secret '{SECRET}' \
         --users 100 --rate 1000 --hold"
    );
    let program = Program::start(Command::new("sh").args(["-c", &script]));
    let all = line(&program, "all are open", |line| line["open"] == 100).await;
    assert_eq!(all["connect_errors"], 0);
    ended(program).await;
}
