//! Faults under load: what resuming clients lose (nothing), and what plain ones do.
//!
//! The tests run a small crowd. `make lossless` runs [`at_full_scale`], the table of the README.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::program::Program;
use crate::support::proxy::FaultProxy;
use crate::support::redis::{Options, RedisServer, free_port};
use crate::support::service::SECRET;
use crate::support::{Bound, eventually};

/// How many, how fast, how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) users: u32,
    pub(crate) messages_per_second: u32,
    pub(crate) seconds: u64,
    pub(crate) partition: Duration,
}

const SMALL: Scale =
    Scale { users: 100, messages_per_second: 200, seconds: 8, partition: Duration::from_secs(3) };
const FULL: Scale =
    Scale { users: 1_000, messages_per_second: 500, seconds: 30, partition: Duration::from_secs(10) };

/// A run ends by itself; this is for one that does not.
pub(crate) const RUN: Bound = Bound {
    limit: Duration::from_secs(150),
    reason: "half a minute of publishing and one to settle, the rest for a busy machine",
};

/// Commands that a restarted Redis refuses while it loads: the publisher's, and the reads of sessions that catch up.
const REFUSALS: u64 = 20;

/// Which kind of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    V1,
}

/// What happens under them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// The service is killed and started again.
    Kill,
    /// Redis is killed and started again, with its append-only file.
    RedisRestart,
    /// The service and Redis do not hear each other for a while.
    Partition,
    /// The subscriber's connection is closed by Redis, three times.
    LinkKilled,
}

/// A service on a Redis behind a proxy that makes faults.
pub(crate) struct World {
    redis: RedisServer,
    proxy: FaultProxy,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) port: String,
}

impl World {
    pub(crate) async fn start() -> Self {
        // Written before it is answered: what a publisher was told is there.
        let lines = vec!["appendonly yes", "appendfsync always"];
        let redis = RedisServer::start_with(Options { lines, ..Options::default() }).await;
        let proxy = FaultProxy::start(redis.address()).await;
        let mut world = Self { redis, proxy, daemon: None, port: free_port().to_string() };
        world.serve().await;
        world
    }

    /// Starts the service on the port it had.
    async fn serve(&mut self) {
        let url = format!("redis://{}", self.proxy.address());
        let settings = [("REDIS_URL", url.as_str()), ("PORT", &self.port), ("MAX_CONNECTIONS", "5000")];
        self.daemon = Some(Daemon::start(&settings).await);
    }

    pub(crate) async fn suffer(&mut self, event: Event, scale: Scale) {
        match event {
            Event::Kill => {
                // Killed with SIGKILL when dropped.
                self.daemon = None;
                self.serve().await;
            }
            Event::RedisRestart => {
                self.redis.restart_loading(REFUSALS).await;
            }
            Event::Partition => {
                self.proxy.hold();
                tokio::time::sleep(scale.partition).await;
                self.proxy.restore();
            }
            Event::LinkKilled => {
                for _ in 0..3 {
                    eventually("there is a subscriber's connection to kill", RUN, async || {
                        self.redis.run::<u64>("CLIENT KILL TYPE PUBSUB", &[]).await > 0
                    })
                    .await;
                }
            }
        }
    }

    /// A crowd of clients, and a publisher that does not go through the service.
    pub(crate) fn crowd(&self, mode: Mode, scale: Scale) -> Program {
        let mut bench = Command::new(env!("CARGO_BIN_EXE_websocket-bench"));
        let (mode, via) = match mode {
            Mode::Plain => ("plain", "redis"),
            Mode::V1 => ("v1", "script"),
        };
        bench.env_clear().stdin(Stdio::null());
        bench.args([
            "deliver",
            "--json",
            "--secret",
            SECRET,
            "--mode",
            mode,
            "--via",
            via,
            "--redis-url",
            &self.redis.url(),
        ]);
        bench.args(["--url", &format!("ws://127.0.0.1:{}/ws", self.port)]);
        bench.args([
            "--users",
            &scale.users.to_string(),
            "--publish-rate",
            &scale.messages_per_second.to_string(),
        ]);
        bench.args(["--seconds", &scale.seconds.to_string(), "--settle", "30"]);
        Program::start(&mut bench)
    }
}

pub(crate) fn line(program: &Program) -> Value {
    program.out().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

/// Runs a crowd, lets the event happen in the middle of it, and returns the last report.
async fn outcome(event: Event, mode: Mode, scale: Scale) -> Value {
    let mut world = World::start().await;
    let mut crowd = world.crowd(mode, scale);
    let enough = u64::from(scale.messages_per_second) * 2;
    eventually("messages flow", RUN, async || line(&crowd)["received"].as_u64() >= Some(enough)).await;
    world.suffer(event, scale).await;
    let status = crowd.exit(RUN).await;
    assert!(status.success(), "{}", crowd.text());
    let report = line(&crowd);
    assert_eq!(report["final"], true, "{}", crowd.text());
    report
}

async fn loses_nothing(event: Event) {
    let report = outcome(event, Mode::V1, SMALL).await;
    assert_eq!(report["lossless"], true, "{report}");
    assert_eq!(
        (&report["lost"], &report["twice"], &report["gaps"]),
        (&0.into(), &0.into(), &0.into()),
        "{report}"
    );
    let published = u64::from(SMALL.messages_per_second) * SMALL.seconds;
    assert!(report["accepted"].as_u64() >= Some(published * 9 / 10), "{report}");
}

#[tokio::test]
async fn a_killed_service_loses_nothing() {
    loses_nothing(Event::Kill).await;
}

#[tokio::test]
async fn a_restarted_redis_loses_nothing() {
    loses_nothing(Event::RedisRestart).await;
}

#[tokio::test]
async fn a_partition_loses_nothing() {
    loses_nothing(Event::Partition).await;
}

#[tokio::test]
async fn a_killed_link_loses_nothing() {
    loses_nothing(Event::LinkKilled).await;
}

#[tokio::test]
#[ignore = "four minutes at full scale, for the README's table: make lossless"]
#[expect(clippy::print_stdout, reason = "what it is run for")]
async fn at_full_scale() {
    println!("| event | plain: lost of | v1: lost | twice | gaps | slowest client |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for event in [Event::Kill, Event::RedisRestart, Event::Partition, Event::LinkKilled] {
        let plain = outcome(event, Mode::Plain, FULL).await;
        let v1 = outcome(event, Mode::V1, FULL).await;
        println!(
            "| {event:?} | {} of {} | {} of {} | {} | {} | {:.1} s |",
            plain["lost"],
            plain["expected"],
            v1["lost"],
            v1["expected"],
            v1["twice"],
            v1["gaps"],
            v1["longest_silence_ms"].as_f64().unwrap_or_default() / 1_000.0
        );
        assert_eq!(v1["lossless"], true, "{v1}");
    }
}
