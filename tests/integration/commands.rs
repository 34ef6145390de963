//! The commands beside `serve`, against a running service.

use crate::support::LOCAL;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, command, with_own};
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use crate::support::service::{API_KEY, SECRET, token_for};

/// The history of the user of the tests below.
const HISTORY: &str = "{ws:zoë: {smith}}:history";

/// Runs a command to its end; its exit code and its standard output.
pub(crate) async fn run(settings: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut program = Program::start(&mut command(settings, arguments));
    let code = program.exit_code().await;
    (code, program.out().join("\n"))
}

#[tokio::test]
async fn a_minted_token_is_good_and_connects() {
    // Development, for the configured key signs there only.
    let development = [("ENVIRONMENT", "development"), ("JWT_SECRET_KEY", SECRET)];
    let (code, token) = run(&development, &["token", "mint", "--user", "zoë smith"]).await;
    assert_eq!(code, Some(0));
    let (code, said) = run(&development, &["token", "check", &token]).await;
    assert_eq!(code, Some(0));
    assert!(said.contains("zoë smith") && said.contains("HS256") && said.ends_with("valid"), "{said}");

    let process = Daemon::start(&[]).await;
    let mut client =
        Client::connect(&format!("ws://{}/ws?token={token}", process.public)).await.expect("taken");
    process.publish("zoë smith", "hello").await;
    assert_eq!(client.text().await, "hello");
}

#[tokio::test]
async fn a_bad_token_is_explained_as_the_service_refuses_it() {
    let settings = with_own(&[]);
    let expired = token_for("ann", std::time::Duration::ZERO).replace('.', "x.");
    for token in ["nonsense", expired.as_str()] {
        let (code, said) = run(&settings, &["token", "check", token]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("not valid: "), "{said}");
    }
    let (code, said) = run(&settings, &["token", "mint", "--user", "ann"]).await;
    assert_eq!((code, said.as_str()), (Some(1), ""), "outside development only with --key-file");
}

#[tokio::test]
async fn publish_reaches_a_connection_byte_for_byte() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let settings = with_own(&[("REDIS_URL", &url)]);
    let process = Daemon::start(&settings).await;
    let mut client = process.connect("zoë: {smith}").await;
    let payload = "{\"größe\": \"1\\n\"}\n \t'quoted' ";
    let (code, said) = run(&settings, &["publish", "zoë: {smith}", payload]).await;
    let answer: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &answer["subscribers"]), (Some(0), &serde_json::json!(1)));
    assert_eq!(client.text().await, payload);
    let entries: Vec<(String, Vec<String>)> = redis.run("XRANGE", &[HISTORY.as_bytes(), b"-", b"+"]).await;
    assert_eq!(
        entries,
        [(answer["id"].as_str().expect("an id").to_owned(), vec!["p".to_owned(), payload.to_owned()])]
    );

    let bare = [&settings[..], &[("HISTORY_SIZE", "0")]].concat();
    let (code, said) = run(&bare, &["publish", "zoë: {smith}", "bare"]).await;
    assert_eq!((code, said.as_str()), (Some(0), r#"{"id":null,"subscribers":1}"#));
    assert_eq!(client.text().await, "bare");
}

#[tokio::test]
async fn publisher_prints_the_script_and_nothing_else() {
    let settings = [("HISTORY_SIZE", "7"), ("MAX_MESSAGE_BYTES", "64")];
    let (code, script) = run(&settings, &["publisher", "--script"]).await;
    assert_eq!(code, Some(0));
    assert!(script.lines().any(|line| line == "local SIZE = 7"), "{script}");
    let redis = RedisServer::start().await;
    let id: String = redis.run("EVAL", &[script.as_bytes(), b"1", b"ws:ann", b"hello"]).await;
    assert!(id.parse::<websocket_service::protocol::EventId>().is_ok(), "{id}");

    let mut program = Program::start(&mut command(&settings, &["publisher"]));
    program.notes("publisher --script", LOCAL).await;
    assert_eq!((program.exit_code().await, program.out()), (Some(64), Vec::new()));
}

#[tokio::test]
async fn publish_without_redis_says_why_it_fails() {
    let mut gone = RedisServer::start().await;
    gone.stop();
    let url = gone.url();
    let mut program =
        Program::start(&mut command(&with_own(&[("REDIS_URL", &url)]), &["publish", "ann", "hello"]));
    program.notes("cannot connect to Redis", LOCAL).await;
    assert_eq!(program.exit_code().await, Some(1));
}

#[tokio::test]
async fn config_shows_what_is_in_force_and_hides_secrets() {
    let settings = with_own(&[("REDIS_URL", "redis://:hush-hush@localhost"), ("MAX_CONNECTIONS", "77")]);
    let (code, said) = run(&settings, &["config"]).await;
    assert_eq!(code, Some(0));
    for secret in [SECRET, API_KEY, "hush-hush"] {
        assert!(!said.contains(secret), "{said}");
    }
    let line = said.lines().find(|line| line.starts_with("MAX_CONNECTIONS ")).expect("a line");
    assert!(line.contains("77") && line.contains("environment"), "{line}");
}

#[tokio::test]
async fn health_asks_the_admin_port_that_is_configured() {
    let process = Daemon::start(&[]).await;
    let port = process.admin.port().to_string();
    let settings = with_own(&[("ADMIN_PORT", &port)]);
    assert_eq!(run(&settings, &["health"]).await, (Some(0), String::new()));
    let url = format!("http://{}/healthz", process.admin);
    assert_eq!(run(&[], &["health", "--url", &url]).await, (Some(0), String::new()));
}

#[tokio::test]
async fn health_says_why_it_is_not() {
    let process = Daemon::start(&[]).await;
    let missing = format!("http://{}/nowhere", process.admin);
    for (settings, arguments, part) in [
        // Nobody listens on port 1.
        (&[("ADMIN_PORT", "1")][..], &["health"][..], "http://127.0.0.1:1/healthz: Connection refused"),
        (&[("ADMIN_PORT", "0")], &["health"], "give the address with --url"),
        (&[], &["health", "--url", &missing], "/nowhere answered 404"),
        (&[], &["health", "--url", "https://localhost/"], "https://localhost/"),
    ] {
        let mut program = Program::start(&mut command(settings, arguments));
        assert_eq!(program.exit_code().await, Some(1), "{}", program.text());
        let said = program.text();
        assert!(said.contains("websocket-service: ") && said.contains(part), "{part} in {said}");
    }
}
