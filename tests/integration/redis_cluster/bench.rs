//! `websocket-bench deliver` against a cluster: it publishes as a back end does that knows of the slots.

use std::process::{Command, Stdio};

use super::{CLASSIC, SHARDED, URL, reach};
use crate::lossless::{RUN, line};
use crate::support::cluster::RedisCluster;
use crate::support::daemon::Daemon;
use crate::support::program::Program;
use crate::support::service::SECRET;

async fn deliver(pubsub: &str, mode: &str, via: &str) {
    let cluster = RedisCluster::start().await;
    let list = cluster.list();
    let service = Daemon::start(&reach(&list, pubsub)).await;
    let mut bench = Command::new(env!("CARGO_BIN_EXE_websocket-bench"));
    bench.env_clear().stdin(Stdio::null());
    bench.args(["deliver", "--json", "--secret", SECRET, "--mode", mode, "--via", via]);
    bench.args(["--redis-url", URL, "--redis-cluster-nodes", &list]);
    bench.args(["--url", &format!("ws://{}/ws", service.public)]);
    bench.args(["--users", "30", "--publish-rate", "60", "--seconds", "3", "--settle", "15"]);
    let mut bench = Program::start(&mut bench);
    assert!(bench.exit(RUN).await.success(), "{}", bench.text());
    let report = line(&bench);
    assert_eq!(
        (&report["final"], &report["lost"], &report["twice"]),
        (&true.into(), &0.into(), &0.into()),
        "{report}"
    );
    assert!(report["accepted"].as_u64() >= Some(100), "{report}");
}

#[tokio::test]
async fn the_bench_publishes_with_the_script_to_users_of_all_masters() {
    deliver(SHARDED, "v1", "script").await;
}

#[tokio::test]
async fn the_bench_publishes_bare_messages_to_users_of_all_masters() {
    deliver(CLASSIC, "plain", "redis").await;
}
