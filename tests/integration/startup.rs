//! How the process starts, or says why not; and what it prints meanwhile.

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::daemon::{Daemon, command, with_own};
use crate::support::program::Program;
use crate::support::{LOCAL, http};

#[tokio::test]
async fn a_taken_port_ends_it_with_a_message_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let port = taken.local_addr().expect("bound").port().to_string();
    for setting in ["PORT", "ADMIN_PORT"] {
        let mut program = Program::start(&mut command(&with_other(setting, &port), &[]));
        let line = program.notes("cannot listen", LOCAL).await;
        assert!(line.contains(&address) && line.contains("is another process there?"), "{line}");
        assert_eq!(program.exit_code().await, Some(1));
        assert!(program.out().is_empty(), "nothing was served: {}", program.text());
    }
}

/// The tests' own settings with one of them replaced.
fn with_other<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    with_own(&[(name, value)])
}

#[tokio::test]
async fn production_refuses_keys_that_can_be_guessed() {
    for (key, part) in [
        ("k7Qz9xLm2Pw4Rt", "is shorter than 32 bytes"),
        ("change-me-change-me-change-me-change-me", "is an example"),
    ] {
        let settings = with_own(&[("ENVIRONMENT", "production"), ("JWT_SECRET_KEY", key)]);
        let mut program = Program::start(&mut command(&settings, &[]));
        assert_eq!(program.exit_code().await, Some(64));
        let text = program.text();
        assert!(text.contains("JWT_SECRET_KEY") && text.contains(part), "{text}");
        assert!(!text.contains(key), "the key is shown: {text}");
    }
}

#[tokio::test]
async fn outside_development_every_line_is_json_and_no_token_is_in_any() {
    let mut process = Daemon::start(&[("LOG_LEVEL", "TRACE")]).await;
    let mut client = process.connect("ann").await;
    let token = process.url("ann").split_once("token=").expect("a token").1.to_owned();
    let refused = Client::connect(&format!("ws://{}/ws?token={token}x", process.public)).await;
    assert_eq!(refused.map(Client::closed).expect("upgraded").await.code, 1008);
    process.publish("ann", "line\nbreak").await;
    assert_eq!(client.text().await, "line\nbreak");
    http::request(process.public, "POST", "/v1/users/a%0Ab/messages", &[], b"{}").await;
    http::request(process.public, "GET", "/no%0Asuch%22path", &[], b"").await;
    process.program.signal("TERM");
    client.closed().await;
    assert_eq!(process.program.exit_code().await, Some(0));

    let lines = process.program.out();
    assert!(lines.len() > 5, "{lines:?}");
    for line in &lines {
        let fields: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for name in ["timestamp", "level", "message", "target"] {
            assert!(fields[name].is_string(), "{name} in {line}");
        }
        // All of the tests' tokens begin so.
        assert!(!line.contains(&token[..20]), "{line}");
    }
}

#[tokio::test]
async fn a_limit_of_open_files_below_what_its_connections_need_is_told() {
    for (limits, told) in [("ulimit -Sn 300 && ulimit -Hn 400", true), ("ulimit -Sn 300", false)] {
        let service = command(&with_own(&[("MAX_CONNECTIONS", "500")]), &[]);
        let mut limited = Command::new("/bin/sh");
        limited.env_clear().args(["-c", &format!("{limits} && exec \"$0\"")]).arg(service.get_program());
        limited.envs(service.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut program = Program::start(&mut limited);
        program.says("listening", LOCAL).await;
        let warned = program.out().iter().any(|line| line.contains("too few files may be open"));
        assert_eq!(warned, told, "{limits}: {}", program.text());
    }
}

#[tokio::test]
async fn outside_development_there_is_no_page() {
    for environment in ["testing", "staging", "production"] {
        let process =
            Daemon::start(&[("ENVIRONMENT", environment), ("API_KEY", "k7Qz9xLm2-Pw4Rt6Ys8")]).await;
        let answer = http::request(process.public, "GET", "/", &[], b"").await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (404, "RESOURCE_NOT_FOUND"),
            "{environment}"
        );
        assert!(
            answer.json()["error"].as_str().is_some_and(|text| text.starts_with("[RESOURCE_NOT_FOUND] "))
        );
        assert!(process.program.out().iter().all(|line| !line.contains("token=")), "no ready-made URL");
    }
}

#[tokio::test]
async fn development_prints_a_url_that_works() {
    let mut process = Daemon::development().await;
    let line = process.program.says("ws://localhost:", LOCAL).await;
    let url = line.split_whitespace().find(|word| word.starts_with("ws://")).expect("a URL");
    let mut client = Client::connect(url).await.expect("upgraded");
    assert!(client.header("x-correlation-id").is_some(), "the 101 has one as well");
    client.send("hello".into()).await;
    assert_eq!(client.text().await, "Echo: hello");
    let page = http::request(process.public, "GET", "/", &[], b"").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(
        process.program.out().iter().all(|line| !line.contains('\u{1b}')),
        "no colours but on a terminal"
    );
    // What Ctrl-C sends: somebody who tries things does not wait for a lame duck.
    process.program.signal("INT");
    assert_eq!(client.closed().await.code, 1012);
    assert_eq!(process.program.exit_code().await, Some(0));
}
