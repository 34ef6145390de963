//! `websocket-bench` in the protocols of peers, against servers that do what a test says.

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::bench_deliver::{Api, assert_fields, deliver, last_line, latest};
use crate::support::redis::RedisServer;
use crate::support::scripted::{Guest, Scripted};
use crate::support::{LOCAL, eventually, within};

/// The subject of a token, and that there is one.
fn assert_token(token: &Value) {
    assert_eq!(token.as_str().map(|token| token.split('.').count()), Some(3), "a JWT: {token}");
}

fn clean() -> Value {
    json!({ "lost": 0, "twice": 0, "disorder": 0, "foreign": 0, "open": 0, "opened": 1, "left": 1 })
}

/// A login, and a ping right behind its answer.
async fn socket_io(server: &Scripted) -> Guest {
    let mut guest = server.accept().await;
    assert_eq!(guest.target, "/ws?EIO=4&transport=websocket");
    assert_eq!(guest.header("authorization"), None, "the token goes into the login");
    guest.text(r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#).await;
    let login = guest.hear_text().await;
    let login: Value =
        serde_json::from_str(login.strip_prefix("40").expect("a connect packet")).expect("JSON");
    assert_token(&login["token"]);
    guest.texts(&[r#"40{"sid":"b"}"#, "2"]).await;
    assert_eq!(guest.hear_text().await, "3", "a ping is answered");
    guest
}

#[tokio::test]
async fn socket_io_is_spoken() {
    let (redis, server) = (RedisServer::start().await, Scripted::start().await);
    let client = redis::Client::open(redis.url()).expect("a URL");
    let mut listener = client.get_async_pubsub().await.expect("a connection");
    listener.subscribe("ws:u0").await.expect("subscribed");
    let mut messages = listener.into_on_message();
    let arguments =
        ["--users", "1", "--mode", "socket-io", "--redis-url", &redis.url(), "--publish-rate", "100"];
    let mut program = deliver(&server.url, &[&arguments[..], &["--seconds", "60", "--settle", "1"]].concat());
    let mut guest = socket_io(&server).await;
    let pass_on = async |message: redis::Msg, guest: &mut Guest| {
        let text: String = message.get_payload().expect("text");
        guest.text(&format!("42{}", json!(["message", text]))).await;
    };
    for _ in 0..20 {
        let message = within("a message", LOCAL, messages.next()).await.expect("subscribed still");
        pass_on(message, &mut guest).await;
    }
    program.signal("TERM");
    loop {
        tokio::select! {
            code = guest.closed() => break assert_eq!(code, 1000),
            Some(message) = messages.next() => pass_on(message, &mut guest).await,
        }
    }
    // The server hangs up.
    drop(guest);
    let last = last_line(program).await;
    assert_fields(&last, &clean());
    assert_eq!((&last["received"], &last["mode"]), (&last["accepted"], &json!("socket-io")));
    assert!(last["received"].as_u64() >= Some(20), "{last}");
}

#[tokio::test]
async fn centrifugo_is_spoken() {
    let (server, api) = (Scripted::start().await, Api::start().await);
    let publish_url = format!("http://{}", api.address);
    let arguments =
        ["--users", "1", "--mode", "centrifugo", "--via", "centrifugo", "--publish-url", &publish_url];
    let more =
        ["--api-key", "hush", "--publish-rate", "max", "--pipeline", "3", "--seconds", "60", "--settle", "1"];
    let mut program = deliver(&server.url, &[&arguments[..], &more].concat());
    let mut guest = server.accept().await;
    let login = guest.hear().await;
    assert_eq!(login["id"], 1);
    assert_token(&login["connect"]["token"]);
    guest.texts(&[r#"{"id":1,"connect":{"client":"c","ping":25,"pong":true}}"#, "{}"]).await;
    assert_eq!(guest.hear_text().await, "{}", "a ping is answered");
    let mut bodies = 0;
    loop {
        tokio::select! {
            code = guest.closed() => break assert_eq!(code, 1000),
            post = api.next() => {
                assert!(post.head.starts_with("post /api/batch ") && post.header("x-api-key") == "hush");
                let commands = post.message["commands"].as_array().expect("commands").clone();
                assert_eq!((commands.len(), &commands[0]["publish"]["channel"]), (3, &json!("#u0")));
                let push = |command: &Value| {
                    let data = &command["publish"]["data"];
                    json!({ "push": { "channel": "#u0", "pub": { "data": data } } }).to_string()
                };
                // Several objects in one frame.
                guest.text(&commands.iter().map(push).collect::<Vec<_>>().join("\n")).await;
                post.answer_with(200, r#"{"replies":[{"publish":{}},{"publish":{}},{"publish":{}}]}"#).await;
                bodies += 1;
                if bodies == 10 {
                    program.signal("TERM");
                }
            }
        }
    }
    // The server hangs up.
    drop(guest);
    let last = last_line(program).await;
    assert_fields(&last, &clean());
    assert_eq!(last["received"], last["accepted"]);
    assert_eq!(last["received"], bodies * 3);
}

#[tokio::test]
async fn a_refused_login_is_a_failure_and_a_refused_batch_ends_the_run() {
    let (server, api) = (Scripted::start().await, Api::start().await);
    let publish_url = format!("http://{}", api.address);
    let arguments =
        ["--users", "1", "--mode", "centrifugo", "--via", "centrifugo", "--publish-url", &publish_url];
    let mut program = deliver(&server.url, &[&arguments[..], &["--api-key", "hush"]].concat());
    let mut guest = server.accept().await;
    guest.hear().await;
    guest.text(r#"{"id":1,"error":{"code":109,"message":"token expired"}}"#).await;
    // It comes back.
    let mut guest = server.accept().await;
    eventually("the refusal is counted", LOCAL, async || {
        latest(&program)["connect_errors_by_kind"]["login"] == 1
    })
    .await;
    guest.hear().await;
    guest.text(r#"{"id":1,"connect":{}}"#).await;
    api.next().await.answer_with(200, r#"{"replies":[{"error":{"code":102}}]}"#).await;
    assert_eq!(program.exit_code().await, Some(1));
    assert!(program.text().contains("a publication was refused with 200 OK"), "{}", program.text());
    assert!(!program.text().contains("hush"), "{}", program.text());
}
