//! The examples that docs/publishing.md shows, run against a real Redis and a service on it.

use std::process::{Command, Stdio};

use tempfile::TempDir;
use websocket_service::config::HistoryConfig;
use websocket_service::history::{SendBy, publish_script};

use crate::support::LOCAL;
use crate::support::program::{Program, python, repository};
use crate::support::redis::{Options, RedisServer};
use crate::support::service::Service;

type Example = fn(&[&str]) -> Command;
const EXAMPLES: [Example; 3] = [publish_sh, publish_py, publish_mjs];

fn publish_sh(arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg(repository().join("examples/publishing/publish.sh")).args(arguments).stdin(Stdio::null());
    command
}

fn publish_py(arguments: &[&str]) -> Command {
    python("examples/publishing/publish.py", arguments)
}

fn publish_mjs(arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(repository().join("examples/publishing/publish.mjs")).args(arguments).stdin(Stdio::null());
    command
}

/// The script as `websocket-service publisher --script` prints it, in a file.
fn script() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("publish.lua");
    std::fs::write(&file, publish_script(&HistoryConfig::default(), SendBy::Publish, 65_536))
        .expect("written");
    let path = file.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

/// Runs an example to its end; its exit code, and what it printed as one line.
async fn run(example: Example, arguments: &[&str]) -> (Option<i32>, String) {
    let mut program = Program::start(&mut example(arguments));
    let code = program.exit_code().await;
    assert_eq!(program.out().is_empty(), code != Some(0), "{}", program.text());
    (code, program.out().join(" "))
}

#[tokio::test]
async fn each_publishes_byte_for_byte_and_knows_a_repetition() {
    let redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    let (_folder, script) = script();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (number, example) in EXAMPLES.into_iter().enumerate() {
        let user = format!("user {number}: größe");
        let mut client = service.connect(&user).await;
        let payload = "{\"größe\": 1}\n \u{1e} $HOME 'x'";
        let first = run(example, &[&redis.url(), &script, &user, payload, "key", trace]).await;
        assert_eq!(client.text().await, payload);
        redis.run::<()>("SCRIPT FLUSH", &[]).await;
        assert_eq!(run(example, &[&redis.url(), &script, &user, "again", "key"]).await, first);
        let (_, other) = run(example, &[&redis.url(), &script, &user, "other"]).await;
        assert_eq!(client.text().await, "other", "nothing came between");
        let key = format!("{{ws:{user}}}:history");
        let entries: Vec<(String, Vec<String>)> = redis.run("XRANGE", &[key.as_bytes(), b"-", b"+"]).await;
        let printed: Vec<String> = entries.iter().map(|(id, _)| format!("{id} 1")).collect();
        assert_eq!(printed, [first.1, other]);
        assert_eq!(entries[0].1, ["p", payload, "t", trace]);
    }
}

#[tokio::test]
async fn each_says_why_it_did_not_publish() {
    let mut redis = RedisServer::start().await;
    let (_folder, script) = script();
    let large = "x".repeat(65_537);
    for example in EXAMPLES {
        for (payload, part) in [("", "the payload is empty"), (&large, "larger than 65536 bytes")] {
            let mut program = Program::start(&mut example(&[&redis.url(), &script, "ann", payload]));
            program.notes(part, LOCAL).await;
            assert_eq!(program.exit_code().await, Some(1), "{}", program.text());
        }
    }
    assert_eq!(redis.user_keys().await, Vec::<String>::new());
    let url = redis.url();
    redis.stop();
    for example in EXAMPLES {
        assert_eq!(run(example, &[&url, &script, "ann", "hello"]).await.0, Some(1));
    }
}

#[tokio::test]
async fn the_rights_on_the_page_are_enough_for_each() {
    let page = std::fs::read_to_string(repository().join("docs/publishing.md")).expect("the page");
    let line = page.lines().find(|line| line.starts_with("user backend on >…")).expect("the rights");
    let line: &'static str = line.replace(">…", ">pw").leak();
    let redis = RedisServer::start_with(Options { lines: vec![line], ..Options::default() }).await;
    let url = format!("redis://backend:pw@{}", redis.address());
    let (_folder, script) = script();
    for example in EXAMPLES {
        let (code, printed) = run(example, &[&url, &script, "ann", "hello", "key"]).await;
        assert_eq!(code, Some(0), "{printed}");
        redis.run::<()>("SCRIPT FLUSH", &[]).await;
    }
    assert_eq!(redis.run::<u64>("XLEN {ws:ann}:history", &[]).await, 1);
}
