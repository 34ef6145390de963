//! Clients that share no code with the service: Python's `websockets`, the WebSocket of Node.js, and the examples that
//! docs/clients.md shows.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::program::{Program, python, repository};
use crate::support::redis::RedisServer;
use crate::support::service::{Service, token};
use crate::support::{Bound, LOCAL, eventually};

/// The examples wait at random up to 2 s before the second attempt and up to 4 s before the third.
pub(crate) const RECONNECT: Bound = Bound {
    limit: std::time::Duration::from_secs(40),
    reason: "three attempts with waits of up to 2, 4 and 8 s, on a machine busy with other tests",
};

/// The Python example; its token travels as a header.
fn client_py(url: &str, arguments: &[&str]) -> Command {
    python("examples/clients/client.py", &[&[url], arguments].concat())
}

/// The Node.js example; its token travels as a subprotocol.
fn node_mjs(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg("--experimental-websocket").arg(repository().join("examples/clients/node.mjs"));
    command.arg(url).args(arguments).stdin(Stdio::null());
    command
}

type Example = fn(&str, &[&str]) -> Command;
pub(crate) const EXAMPLES: [Example; 2] = [client_py, node_mjs];

/// Publishes as a back end's shell would; the payload through standard input, byte for byte.
fn redis_cli_publish(redis: &RedisServer, channel: &str, payload: &[u8]) -> String {
    let address = redis.address();
    let (_, port) = address.split_once(':').expect("host and port");
    let mut child = Command::new("redis-cli")
        .args(["-p", port, "-x", "PUBLISH", channel])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run redis-cli: {error}; `make tools-test` installs it"));
    child.stdin.take().expect("piped").write_all(payload).expect("taken");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) async fn until_connected(service: &Service, connections: i64) {
    eventually("the client is connected", RECONNECT, async || {
        service.metrics.active_connections.get() == connections
    })
    .await;
}

#[tokio::test]
async fn python_receives_the_bytes_that_redis_cli_sent() {
    let redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    let payloads: [&[u8]; 8] = [
        br#"{"type":"notification","event_type":"essay_status_update","data":{"essay_id":"essay123"}}"#,
        "größe 名前 🦀 \u{1f469}\u{200d}\u{1f680} e\u{301} \u{feff}".as_bytes(),
        b"\"double\" 'single' `back` \\ \\n \\u00e9 %s %41 $HOME",
        b"line\nbreak\r\n\ttab\n\n",
        b" \n",
        b"\x00\x01\x1e\x7f null and controls",
        b"{\"spaces\" :  [1.0, 1e3 ,\"\\/\"] }",
        &[b'x'; 65_536],
    ];
    let url = service.url(&format!("?token={}", token("ann")));
    let mut client =
        Program::start(&mut python("tests/clients/received.py", &[&url, &payloads.len().to_string()]));
    client.notes("open", LOCAL).await;
    for payload in payloads {
        assert_eq!(redis_cli_publish(&redis, "ws:ann", payload), "1");
    }
    assert_eq!(client.exit_code().await, Some(0), "{}", client.text());
    let received: Vec<String> = client.out();
    let sent: Vec<String> =
        payloads.iter().map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    assert_eq!(received, sent);
}

#[tokio::test]
async fn the_examples_print_what_arrives_and_leave_after_the_count() {
    let service = Service::start(&[]).await;
    for (number, example) in EXAMPLES.into_iter().enumerate() {
        for mode in [&["--plain"] as &[&str], &[]] {
            let user = format!("user-{number}");
            let token = token(&user);
            let arguments = [&["--token", &token, "--count", "2"], mode].concat();
            let mut client = Program::start(&mut example(&service.url(""), &arguments));
            client.notes(if mode.is_empty() { "hello" } else { "open" }, LOCAL).await;
            service.publish(&user, r#"{"größe":1}"#).await;
            service.publish(&user, "two").await;
            assert_eq!(client.exit_code().await, Some(0), "{}", client.text());
            assert_eq!(client.out(), [r#"{"größe":1}"#, "two"]);
        }
    }
    eventually("all closed with 1000", LOCAL, async || {
        service.metric("websocket_closes_total{code=\"1000\"}").await == 4.0
    })
    .await;
}

#[tokio::test]
async fn the_examples_come_back_after_a_restart_in_plain_mode() {
    let mut service = Service::start(&[]).await;
    let port = service.public().port().to_string();
    let mut clients: Vec<Program> = EXAMPLES
        .iter()
        .map(|example| {
            let arguments = ["--plain", "--token", &token("ann"), "--count", "1"];
            Program::start(&mut example(&service.url(""), &arguments))
        })
        .collect();
    until_connected(&service, 2).await;
    service.replace().await;
    for client in &mut clients {
        let line = client.notes("closed, 1012", LOCAL).await;
        assert!(line.contains("Server shuts down [SERVICE_UNAVAILABLE], correlation id "), "{line}");
    }
    service = Service::start(&[("PORT", &port)]).await;
    until_connected(&service, 2).await;
    service.publish("ann", "welcome back").await;
    for client in &mut clients {
        assert_eq!(client.exit_code().await, Some(0), "{}", client.text());
        assert_eq!(client.out(), ["welcome back"]);
    }
}

#[tokio::test]
async fn the_examples_give_up_after_the_second_refused_token() {
    let service = Service::start(&[]).await;
    let mut clients: Vec<Program> = EXAMPLES
        .iter()
        .map(|example| Program::start(&mut example(&service.url(""), &["--token", "no.good.token"])))
        .collect();
    for client in &mut clients {
        client.notes("closed, 1008: Token is", LOCAL).await;
        assert_eq!(client.exit(RECONNECT).await.code(), Some(1), "{}", client.text());
        let refusals = client.text().matches("closed, 1008").count();
        assert_eq!(refusals, 2, "{}", client.text());
    }
    assert_eq!(service.metric("jwt_validation_total{result=\"invalid\"}").await, 4.0);
}
