//! `websocket-bench deliver`: what is lost, comes twice or out of order is counted as that.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::http;
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use crate::support::scripted::{Guest, Scripted};
use crate::support::service::{SECRET, Service};
use crate::support::{LOCAL, eventually, within};

pub(crate) fn deliver(url: &str, arguments: &[&str]) -> Program {
    let mut process = Command::new(env!("CARGO_BIN_EXE_websocket-bench"));
    process.env_clear().stdin(Stdio::null());
    process.args(["deliver", "--json", "--url", url, "--secret", SECRET]).args(arguments);
    // Where coverage is measured, the process's counts as well.
    #[expect(clippy::disallowed_methods, reason = "no setting of the service")]
    if let Some(file) = std::env::var_os("LLVM_PROFILE_FILE") {
        process.env("LLVM_PROFILE_FILE", file);
    }
    Program::start(&mut process)
}

/// The last line so far.
pub(crate) fn latest(program: &Program) -> Value {
    let line = program.out().pop().unwrap_or_else(|| "{}".to_owned());
    serde_json::from_str(&line).expect("a line of JSON")
}

pub(crate) async fn last_line(mut program: Program) -> Value {
    assert_eq!(program.exit_code().await, Some(0), "{}", program.text());
    let last = latest(&program);
    assert_eq!(last["final"], true);
    last
}

/// Sees that a report has these fields.
pub(crate) fn assert_fields(report: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&report[name], value, "{name} of {report}");
    }
}

/// The service's publish API, answered by the test.
pub(crate) struct Api {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// A request that waits for its answer.
pub(crate) struct Post {
    stream: TcpStream,
    pub(crate) head: String,
    pub(crate) message: Value,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        Self { listener, address }
    }

    pub(crate) async fn next(&self) -> Post {
        let (mut stream, _) = within("a publication", LOCAL, self.listener.accept()).await.expect("accepted");
        let mut request = Vec::new();
        let parts = async {
            loop {
                stream.read_buf(&mut request).await.expect("readable");
                let text = String::from_utf8_lossy(&request);
                // Whole when its JSON is.
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && let Ok(message) = serde_json::from_str(body)
                {
                    return (head.to_ascii_lowercase(), message);
                }
            }
        };
        let (head, message) = within("a request", LOCAL, parts).await;
        Post { stream, head, message }
    }
}

impl Post {
    fn number(&self) -> u64 {
        self.message["n"].as_u64().expect("a number")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    async fn answer(self, status: u16) -> Value {
        self.answer_with(status, r#"{"id":"1-0","subscribers":1}"#).await
    }

    pub(crate) async fn answer_with(mut self, status: u16, body: &str) -> Value {
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        self.stream.write_all(answer.as_bytes()).await.expect("written");
        self.message
    }
}

async fn pass_on(guest: &mut Guest, message: &Value) {
    guest.message(&format!("{}-0", message["n"]), message).await;
}

#[tokio::test]
async fn what_a_faulty_service_does_is_told_apart() {
    let (server, api) = (Scripted::start().await, Api::start().await);
    let publish_url = format!("http://{}", api.address);
    let arguments = [
        "--users",
        "1",
        "--user-prefix",
        "zoë ",
        "--mode",
        "v1",
        "--via",
        "http",
        "--publish-url",
        &publish_url,
        "--api-key",
        "hush",
        "--publish-rate",
        "50",
        "--seconds",
        "60",
        "--settle",
        "1",
    ];
    let mut program = deliver(&server.url, &arguments);
    let mut guest = server.welcome("0-0", false).await;
    let mut held = Value::Null;
    for number in 1..=16 {
        let mut post = api.next().await;
        assert!(post.number() == number && post.head.starts_with("post /v1/users/zo%c3%ab%200/messages "));
        assert_eq!(post.header("authorization"), "bearer hush");
        if number == 2 {
            let (key, message) = (post.header("idempotency-key").to_owned(), post.message.clone());
            post.answer(503).await;
            post = api.next().await;
            assert_eq!((post.header("idempotency-key"), &post.message), (&*key, &message), "the same again");
        }
        let message = post.answer(202).await;
        match number {
            // Lost.
            3 => {}
            // Recognised by its id.
            5 => {
                pass_on(&mut guest, &message).await;
                pass_on(&mut guest, &message).await;
            }
            // The same under two ids.
            6 => {
                pass_on(&mut guest, &message).await;
                guest.message("6-1", &message).await;
            }
            // After the next.
            8 => held = message,
            9 => {
                pass_on(&mut guest, &message).await;
                guest.message("9-1", &held).await;
            }
            12 | 14 => {
                pass_on(&mut guest, &message).await;
                guest.close(1012).await;
                guest = server.accept().await;
                let after = format!("{number}-0");
                assert_eq!(guest.header("last-event-id"), Some(after.as_str()));
                guest.hello(&after, number == 12).await;
                if number == 14 {
                    guest.say(json!({ "type": "gap", "after": after })).await;
                }
            }
            15 => {
                pass_on(&mut guest, &message).await;
                // Of somebody else, and of an earlier run.
                guest.message("15-1", &json!("hello")).await;
                guest.message("15-2", &json!({ "run": "", "n": 1, "t": 1 })).await;
            }
            _ => pass_on(&mut guest, &message).await,
        }
    }
    program.signal("TERM");
    loop {
        tokio::select! {
            code = guest.closed() => break assert_eq!(code, 1000),
            // What was on its way.
            post = api.next() => pass_on(&mut guest, &post.answer(202).await).await,
        }
    }
    let last = last_line(program).await;
    let expected = json!({
        "lost": 1, "twice": 1, "disorder": 1, "repeated": 1, "foreign": 2, "gaps": 1, "resumed": 1,
        "reconnects": 2, "opened": 3, "closes": { "1012": 2 }, "publish_retries": 1, "lossless": false,
        "never_opened": 0,
    });
    assert_fields(&last, &expected);
    assert_eq!(last["lost_first"], json!([{ "user": 0, "connection": 0, "number": 3 }]));
    assert_eq!(last["received"].as_u64().map(|received| received + 1), last["accepted"].as_u64());
}

#[tokio::test]
async fn a_refused_publication_and_missing_flags_end_the_run() {
    let (server, api) = (Scripted::start().await, Api::start().await);
    let publish_url = format!("http://{}", api.address);
    let base = ["--users", "1", "--mode", "v1", "--via", "http", "--publish-url", &publish_url];
    let mut program = deliver(&server.url, &[&base[..], &["--api-key", "wrong"]].concat());
    let _guest = server.welcome("0-0", false).await;
    api.next().await.answer(401).await;
    assert_eq!(program.exit_code().await, Some(1));
    assert!(program.text().contains("a publication was refused with 401"), "{}", program.text());
    assert!(!program.text().contains("wrong"), "{}", program.text());
    for (arguments, part) in [
        (&base[..], "--via http and --via centrifugo need --api-key"),
        (&["--users", "1"], "need --redis-url or --redis-url-file"),
    ] {
        let mut program = deliver(&server.url, arguments);
        assert_eq!(program.exit_code().await, Some(1));
        assert!(program.text().contains(part), "{}", program.text());
    }
}

#[tokio::test]
async fn bare_publications_are_counted_at_each_connection() {
    let redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    let arguments = [
        "--users",
        "3",
        "--connections-per-user",
        "2",
        "--redis-url",
        &redis.url(),
        "--publish-rate",
        "200",
        "--seconds",
        "60",
        "--settle",
        "1",
        "--bytes",
        "300",
    ];
    let mut program = deliver(&service.url(""), &arguments);
    eventually("messages arrive", LOCAL, async || latest(&program)["received"].as_u64() > Some(20)).await;
    program.signal("TERM");
    let last = last_line(program).await;
    let accepted = last["accepted"].as_u64().expect("a count");
    let expected = json!({
        "lost": 0, "twice": 0, "disorder": 0, "foreign": 0, "gaps": 0, "open": 0, "left": 6, "unaccepted": 0,
        "lossless": null,
    });
    assert_fields(&last, &expected);
    assert_eq!((&last["received"], &last["expected"]), (&json!(accepted * 2), &json!(accepted * 2)));
    assert!(last["longest_silence_ms"].as_f64() > Some(0.0), "{last}");
    let sizes = service.metric("websocket_message_size_bytes_sum").await;
    assert_eq!(sizes, 300.0 * service.metric("websocket_message_size_bytes_count").await);
}

#[tokio::test]
async fn who_is_told_to_stay_away_loses_what_follows() {
    let redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    let arguments = [
        "--users",
        "2",
        "--redis-url",
        &redis.url(),
        "--publish-rate",
        "100",
        "--seconds",
        "60",
        "--settle",
        "2",
    ];
    let mut program = deliver(&service.url(""), &arguments);
    eventually("messages arrive", LOCAL, async || latest(&program)["received"].as_u64() > Some(0)).await;
    let gone = http::request(service.admin(), "DELETE", "/v1/users/u1/connections", &[], b"").await;
    assert_eq!(gone.status, 200);
    eventually("some are missing", LOCAL, async || {
        let line = latest(&program);
        line["ended"] == 1 && line["outstanding"].as_u64() > Some(5)
    })
    .await;
    program.signal("TERM");
    let last = last_line(program).await;
    assert!(last["lost"].as_u64() > Some(5), "{last}");
    let lost_of = last["lost_first"].as_array().expect("a list").iter().map(|lost| &lost["user"]);
    assert!(lost_of.into_iter().all(|user| *user == 1), "{last}");
    assert_eq!(last["closes"], json!({ "4004": 1 }));
}

/// Passes a record of the script on to a client.
async fn wire(guest: &mut Guest, record: &redis::Msg) {
    let bytes = record.get_payload_bytes();
    let end = bytes.iter().position(|byte| *byte == 0x1e).expect("a separator");
    let id = std::str::from_utf8(&bytes[..end]).expect("an id");
    guest.message(id, &serde_json::from_slice(&bytes[end + 1..]).expect("JSON")).await;
}

#[tokio::test]
async fn the_script_publishes_each_message_once_whatever_redis_forgets() {
    let (redis, server) = (RedisServer::start().await, Scripted::start().await);
    let client = redis::Client::open(redis.url()).expect("a URL");
    let mut listener = client.get_async_pubsub().await.expect("a connection");
    listener.subscribe("{ws:u0}:messages").await.expect("subscribed");
    let mut records = listener.into_on_message();
    let arguments = [
        "--users",
        "1",
        "--mode",
        "v1",
        "--via",
        "script",
        "--redis-url",
        &redis.url(),
        "--publish-rate",
        "100",
        "--seconds",
        "60",
        "--settle",
        "5",
        "--history-size",
        "20",
    ];
    let mut program = deliver(&server.url, &arguments);
    let mut guest = server.welcome("0-0", false).await;
    for number in 0..40 {
        let record = within("a record", LOCAL, records.next()).await.expect("subscribed still");
        wire(&mut guest, &record).await;
        if number == 10 {
            redis.run::<()>("SCRIPT FLUSH", &[]).await;
        }
        if number == 20 {
            redis.run::<u64>("CLIENT KILL TYPE normal", &[]).await;
        }
    }
    program.signal("TERM");
    loop {
        tokio::select! {
            code = guest.closed() => break assert_eq!(code, 1000),
            Some(record) = records.next() => wire(&mut guest, &record).await,
        }
    }
    let last = last_line(program).await;
    let expected = json!({ "lost": 0, "twice": 0, "repeated": 0, "unaccepted": 0, "lossless": true });
    assert_fields(&last, &expected);
    assert!(last["publish_retries"].as_u64() > Some(0), "{last}");
    // Redis trims whole blocks.
    assert!((20..=120).contains(&redis.run::<u64>("XLEN", &[b"{ws:u0}:history"]).await));
}
