//! `websocket-bench connect`, `churn`, `drain`, `reconnect`, `floor`, and `deliver` at its limit: what they count.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::bench::bench;
use crate::bench_deliver::{assert_fields, deliver, last_line, latest};
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use crate::support::scripted::Scripted;
use crate::support::service::{SECRET, Service};
use crate::support::{LOCAL, eventually, within};

/// A command that ends by itself, with JSON.
fn load(command: &str, address: SocketAddr, arguments: &[&str]) -> Program {
    bench(command, address, &[&["--secret", SECRET, "--json"], arguments].concat())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test]
async fn connections_are_opened_held_and_closed_and_the_server_is_looked_at() {
    let service = Service::start(&[]).await;
    // The service is in this process.
    let pid = std::process::id().to_string();
    let metrics = format!("http://{}/metrics", service.admin());
    for (mode, server) in [("plain", ["--pid", &pid]), ("v1", ["--metrics-url", &metrics])] {
        let arguments =
            ["--users", "10", "--connections-per-user", "3", "--mode", mode, "--hold", "2", "--after", "0"];
        let program = load("connect", service.public(), &[&arguments[..], &server].concat());
        let last = last_line(program).await;
        let expected = json!({
            "command": "connect", "mode": mode, "connections": 30, "opened": 30, "left": 30, "failed": {},
            "closes": {},
        });
        assert_fields(&last, &expected);
        assert!(
            number(&last["connects_per_s"]) > 0.0 && number(&last["handshake_ms"]["p50"]) > 0.0,
            "{last}"
        );
        let spent = &last["server"];
        for figure in ["rss_before", "rss_idle", "rss_after"] {
            assert!(number(&spent[figure]) > 1e6, "{last}");
        }
        assert!(
            number(&spent["cpu_us_per_connect"]) >= 0.0 && !spent["bytes_per_connection"].is_null(),
            "{last}"
        );
        assert!(number(&spent["idle_cpu_us_per_connection_second"]) >= 0.0, "{last}");
        let samples = last["samples"].as_array().expect("a list");
        assert!(samples.iter().any(|sample| sample["open"] == 30 && number(&sample["rss"]) > 1e6), "{last}");
    }
    assert_eq!(service.metric("websocket_closes_total{code=\"1000\"}").await, 60.0);
}

#[tokio::test]
async fn a_report_for_people_fits_a_page() {
    let service = Service::start(&[]).await;
    let arguments = ["--secret", SECRET, "--users", "3", "--hold", "0", "--after", "0", "--rate", "1000"];
    let mut program = bench("connect", service.public(), &arguments);
    assert_eq!(program.exit_code().await, Some(0), "{}", program.text());
    let said = program.out();
    assert_eq!(said[0], "connect, 3 connections, plain");
    assert!(said.iter().any(|line| line.contains("opened") && line.contains("3   failed: none")), "{said:?}");
    assert!(said.iter().all(|line| line.chars().count() <= 100 && !line.starts_with('{')), "{said:?}");
    assert!(
        program.text().ends_with("as errors\n"),
        "no progress where there is no terminal: {}",
        program.text()
    );
}

#[tokio::test]
async fn source_addresses_are_used_in_turn_and_failures_are_told_by_kind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let sources = ["--source-address", "127.0.0.2", "--source-address", "127.0.0.3"];
    let mut program = load("connect", address, &[&["--users", "4"], &sources[..]].concat());
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (mut stream, peer) = within("a connection", LOCAL, listener.accept()).await.expect("accepted");
        seen.push(peer.ip().to_string());
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"HTTP/1.1 503 Full\r\ncontent-length: 0\r\n\r\n").await;
    }
    assert_eq!(program.exit_code().await, Some(1));
    assert!(
        program.text().contains("no connection could be opened; failures: http_503 4"),
        "{}",
        program.text()
    );
    seen.sort();
    assert_eq!(seen, ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"]);
}

#[tokio::test]
async fn as_many_as_it_can_loses_nothing_and_is_bounded() {
    let redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[("MAX_CONNECTIONS_PER_USER", "50")]).await;
    let pid = std::process::id().to_string();
    for (users, each) in [("20", "1"), ("2", "50")] {
        let crowd =
            ["--users", users, "--connections-per-user", each, "--redis-url", &redis.url(), "--pid", &pid];
        let pace = ["--publish-rate", "max", "--window", "100", "--seconds", "60", "--settle", "1"];
        let mut program = deliver(&service.url(""), &[&crowd[..], &pace].concat());
        eventually("messages arrive", LOCAL, async || latest(&program)["received"].as_u64() > Some(500))
            .await;
        let under_way = latest(&program)["outstanding"].as_u64();
        assert!(under_way <= Some(100), "the window is kept: {under_way:?}");
        program.signal("TERM");
        let last = last_line(program).await;
        let expected = json!({
            "command": "deliver", "mode": "plain", "lost": 0, "twice": 0, "disorder": 0, "foreign": 0,
            "unaccepted": 0, "open": 0,
        });
        assert_fields(&last, &expected);
        assert_eq!((&last["delivered"], &last["received"]), (&last["expected"], &last["expected"]));
        assert!(
            number(&last["delivered_per_s"]) > 0.0 && number(&last["latency_ms"]["p999"]) > 0.0,
            "{last}"
        );
        let histogram = last["latency_histogram"].as_array().expect("a list");
        let counted: u64 = histogram.iter().filter_map(|step| step[1].as_u64()).sum();
        assert_eq!(last["delivered"], counted);
        assert!(number(&last["server"]["cpu_us_per_delivery"]) > 0.0, "{last}");
    }
}

#[tokio::test]
async fn churn_replaces_connections_one_after_the_other() {
    let service = Service::start(&[]).await;
    let pid = std::process::id().to_string();
    let arguments = ["--users", "5", "--rate", "20", "--seconds", "1", "--mode", "v1", "--pid", &pid];
    let last = last_line(load("churn", service.public(), &arguments)).await;
    assert_fields(&last, &json!({ "command": "churn", "connections": 5, "failed": {}, "closes": {} }));
    let cycles = number(&last["cycles"]);
    assert!((1.0..=21.0).contains(&cycles) && number(&last["server"]["rss_start"]) > 1e6, "{last}");
    let closed = service.metric("websocket_closes_total{code=\"1000\"}").await;
    assert!(closed >= cycles + 5.0, "{closed} {cycles}: each cycle, and all at the end");
}

#[tokio::test]
async fn who_is_cut_off_comes_back() {
    let service = Service::start(&[]).await;
    let arguments = ["--users", "20", "--hold", "0", "--spread", "1", "--mode", "v1"];
    let last = last_line(load("reconnect", service.public(), &arguments)).await;
    let expected = json!({ "command": "reconnect", "cut": 20, "back": 20, "failed": {}, "server": null });
    assert_fields(&last, &expected);
    let back = &last["back_s"];
    assert!(number(&back["p50"]) <= number(&back["p90"]) && number(&back["p99"]) <= number(&back["p100"]));
    let curve = last["curve"].as_array().expect("a list");
    assert_eq!(curve.iter().filter_map(Value::as_u64).sum::<u64>(), 20);
    assert_eq!(service.metric("websocket_closes_total{code=\"1006\"}").await, 20.0, "without a close frame");
}

#[tokio::test]
async fn a_drain_is_begun_and_seen_through() {
    let (server, admin) = (Scripted::start().await, Scripted::start().await);
    let address = server.url.trim_start_matches("ws://").trim_end_matches("/ws").parse().expect("an address");
    let drain_url = admin.url.replace("ws://", "http://").replace("/ws", "/drain");
    let arguments = ["--users", "2", "--mode", "v1", "--quiet", "1", "--drain-url", &drain_url];
    let program = load("drain", address, &arguments);
    let mut guests = [server.welcome("0-0", false).await, server.welcome("0-0", false).await];
    // The end of the status line is all that matters: it is taken.
    admin.refuse("202 Accepted").await;
    guests[0].say(json!({ "type": "reconnect", "after_ms": 0 })).await;
    let [first, mut second] = guests;
    first.close(1012).await;
    let mut first = server.welcome("0-0", true).await;
    assert_eq!([first.closed().await, second.closed().await], [1000, 1000]);
    let last = last_line(program).await;
    let expected = json!({
        "command": "drain", "connections": 2, "open": 2, "closed": 1, "reconnects": 1, "closes": { "1012": 1 },
        "failed": {}, "worst_second": { "closed": 1, "reconnects": 1 },
    });
    assert_fields(&last, &expected);
    assert!(number(&last["all_back_s"]) >= 0.0, "{last}");
}

#[tokio::test]
async fn what_makes_no_sense_with_a_peer_is_refused() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    for command in ["churn", "drain", "reconnect"] {
        let mut program = load(command, nobody, &["--users", "1", "--mode", "socket-io"]);
        assert_eq!(program.exit_code().await, Some(1));
        assert!(program.text().contains("is there for `connect` and `deliver` only"), "{}", program.text());
    }
    let mut program = load("connect", nobody, &["--users", "1", "--pid", "4294967295"]);
    assert_eq!(program.exit_code().await, Some(1));
    assert!(program.text().contains("memory and CPU cannot be read"), "{}", program.text());
}

#[tokio::test]
async fn the_floor_is_a_number() {
    let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_websocket-bench"));
    process.args(["floor", "--connections", "20", "--rounds", "10", "--json"]);
    let last = last_line(Program::start(&mut process)).await;
    assert_fields(&last, &json!({ "command": "floor", "connections": 20, "rounds": 10, "bytes": 260 }));
    assert!(number(&last["cpu_us_per_write"]) > 0.0, "{last}");
}
