//! The log of a process: errors once and whole, secrets never.

use serde_json::{Value, json};

use crate::support::LOCAL;
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::raw::Raw;
use crate::support::service::{API_KEY, SECRET, bearer, token};
use crate::support::tokens::signed;

/// A service that logs everything, as JSON unless said otherwise.
async fn talkative(settings: &[(&str, &str)]) -> Daemon {
    Daemon::start(&[&[("LOG_FORMAT", "json"), ("LOG_LEVEL", "TRACE")], settings].concat()).await
}

/// Waits for lines that hold `part`, and returns all that do.
async fn logged(process: &mut Daemon, part: &str) -> Vec<Value> {
    process.program.says(part, LOCAL).await;
    let parse = |line: &String| serde_json::from_str(line).expect("a line of JSON");
    process.program.out().iter().filter(|line| line.contains(part)).map(parse).collect()
}

/// Checks the one line of an error, and returns it.
fn one(lines: &[Value], code: &str, operation: &str) -> Value {
    let errors: Vec<&Value> = lines.iter().filter(|line| line.get("error_code").is_some()).collect();
    assert_eq!(errors.len(), 1, "once: {lines:?}");
    let line = errors[0].clone();
    assert_eq!((line["error_code"].as_str(), line["operation"].as_str()), (Some(code), Some(operation)));
    assert_eq!(line["service"], "websocket-service");
    assert!(line["message"].as_str().is_some_and(|message| !message.is_empty()));
    assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')));
    let details: Value = serde_json::from_str(line["details"].as_str().expect("details")).expect("JSON");
    assert!(details.is_object());
    line
}

#[tokio::test]
async fn an_error_is_one_line_with_its_detail() {
    let mut process = talkative(&[]).await;
    let answer = http::request(process.public, "GET", "/nothing", &[], b"").await;
    let id = answer.header("x-correlation-id").expect("an id").to_owned();
    let line = one(&logged(&mut process, &id).await, "RESOURCE_NOT_FOUND", "route");
    assert_eq!((line["level"].as_str(), line["correlation_id"].as_str()), (Some("INFO"), Some(id.as_str())));

    let mut refused = Raw::open(process.public, "?token=nonsense", &[]).await.expect("upgraded");
    let id = refused.closed().await.field("correlation_id");
    let line = one(&logged(&mut process, &id).await, "AUTHENTICATION_ERROR", "authenticate");
    assert_eq!(line["message"], "Token is invalid");
}

#[tokio::test]
async fn a_connection_that_ends_with_an_error_is_one_line_too() {
    let mut process = talkative(&[]).await;
    let url = format!("ws://{}/ws?token={}", process.public, token("ann"));
    let mut client = Client::connect(&url).await.expect("upgraded");
    client.send(tokio_tungstenite::tungstenite::Message::binary(vec![1])).await;
    let id = client.closed().await.field("correlation_id");
    logged(&mut process, "VALIDATION_ERROR").await;
    let line = one(&logged(&mut process, &id).await, "VALIDATION_ERROR", "session");
    assert_eq!(line["level"], "INFO");

    // A drain is one event, not an error for each connection.
    let client = Client::connect(&url).await.expect("upgraded");
    http::request(process.admin, "POST", "/drain", &[], b"").await;
    let id = client.closed().await.field("correlation_id");
    logged(&mut process, "\"code\":1012").await;
    logged(&mut process, "drain finished").await;
    let lines = logged(&mut process, &id).await;
    assert!(lines.iter().all(|line| line.get("error_code").is_none()), "{lines:?}");
}

#[tokio::test]
async fn no_secret_is_in_the_log_at_any_level() {
    let mut process = talkative(&[("JWT_LEEWAY_SECONDS", "0")]).await;
    let good = token("ann");
    let expired = signed(&json!({ "sub": "ann", "exp": 1_000_000_000 }));
    let wrong_key = "a-wrong-api-key-0123456789";
    for token in [&good, &expired] {
        for (query, headers) in [
            (format!("?token={token}"), vec![]),
            (format!("?token={token}&token={token}"), vec![]),
            (String::new(), vec![("authorization", format!("Bearer {token}"))]),
            (String::new(), vec![("sec-websocket-protocol", format!("bearer, {token}"))]),
        ] {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let _ = Raw::open(process.public, &query, &headers).await;
        }
        for path in [format!("/nothing?token={token}"), format!("/ws?token={token}")] {
            http::request(process.public, "GET", &path, &[], b"").await;
        }
        // Not HTTP at all.
        let _ = http::exchange(process.public, format!("GET /ws?token={token} HTTP/9.9\r\n\r\n").as_bytes())
            .await;
    }
    let wrong = format!("Bearer {wrong_key}");
    for key in [bearer().as_str(), wrong.as_str()] {
        let headers = [("authorization", key)];
        http::request(process.public, "POST", "/v1/users/ann/messages", &headers, b"hush-hush").await;
        http::request(process.public, "POST", "/v1/messages", &headers, b"[hush-hush").await;
    }
    // The last word, so that all before it is written.
    let last = "6f0c2d3e-5a55-4c93-9d51-0f6f4a7b8c9d";
    http::request(process.public, "GET", "/nothing", &[("x-correlation-id", last)], b"").await;
    logged(&mut process, last).await;
    let log = process.program.out().join("\n");
    assert!(log.contains("\"level\":\"DEBUG\""), "levels below INFO are on: {log}");
    for secret in [SECRET, API_KEY, wrong_key, "hush-hush"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    for token in [&good, &expired] {
        // Neither the whole nor its claims or signature.
        assert!(token.split('.').skip(1).all(|part| !log.contains(part)), "{log}");
    }
}

#[tokio::test]
async fn text_that_goes_to_no_terminal_has_no_colours() {
    let process = Daemon::start(&[("LOG_FORMAT", "text")]).await;
    http::request(process.public, "GET", "/nothing", &[], b"").await;
    let log = process.program.out().join("\n");
    assert!(log.contains("listening") && !log.contains('\u{1b}'), "{log}");
}
