//! A long day: clients that stay and resume, clients that come and go, and faults at random. Nothing is lost, nothing panics,
//! and memory does not creep.

use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::lossless::{Event, Mode, RUN, Scale, World, line};
use crate::support::http;
use crate::support::program::Program;
use crate::support::service::SECRET;
use crate::support::{Bound, eventually};

/// How long, how much, and which faults in which order.
#[derive(Debug, Clone, Copy)]
struct Day {
    length: Duration,
    seed: u64,
    users: u32,
    messages_per_second: u32,
    /// Connections that are replaced each second.
    churn: u32,
    /// Most seconds between two faults.
    calm: u64,
}

/// What was seen of it.
#[derive(Debug)]
struct Seen {
    faults: Vec<(&'static str, u32)>,
    report: serde_json::Value,
    /// Resident memory of the service, in MB, once it had run for a while and at the end.
    memory: (f64, f64),
}

/// Clients that come and go as long as the day lasts.
fn churn(port: &str, day: Day) -> Program {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_websocket-bench"));
    bench.env_clear().stdin(Stdio::null()).args(["churn", "--json", "--secret", SECRET]);
    bench.args(["--url", &format!("ws://127.0.0.1:{port}/ws"), "--user-prefix", "guest", "--mode", "v1"]);
    bench.args(["--users", &day.users.to_string(), "--rate", &day.churn.to_string()]);
    bench.args(["--seconds", &day.length.as_secs().to_string()]);
    Program::start(&mut bench)
}

/// In MB.
async fn memory(world: &World) -> f64 {
    let admin = world.daemon.as_ref().expect("a service that runs").admin;
    http::metric(admin, "process_resident_memory_bytes").await / 1e6
}

async fn live(day: Day) -> Seen {
    let Day { length, seed, users, messages_per_second, .. } = day;
    let mut random = StdRng::seed_from_u64(seed);
    let scale = Scale { users, messages_per_second, seconds: length.as_secs(), partition: Duration::ZERO };
    let mut world = World::start().await;
    let mut crowd = world.crowd(Mode::V1, scale);
    eventually("messages flow", RUN, async || line(&crowd)["received"].as_u64() >= Some(100)).await;
    let mut guests = churn(&world.port, day);

    let mut faults = vec![("kill", 0), ("redis restarted", 0), ("partition", 0), ("link killed", 0)];
    let (start, mut early) = (Instant::now(), 0.0);
    loop {
        // The time between faults is part of the day, and not a wait for anything.
        sleep(Duration::from_secs(random.random_range(1..=day.calm))).await;
        let past = start.elapsed();
        if past + Duration::from_secs(5) > length {
            break;
        }
        // In the second half nothing starts the service anew, so that its memory can be watched.
        let half = past > length / 2;
        if half && early == 0.0 {
            early = memory(&world).await;
        }
        let kind = random.random_range(usize::from(half)..faults.len());
        faults[kind].1 += 1;
        let partition = Duration::from_millis(random.random_range(100..=5_000));
        let event = [Event::Kill, Event::RedisRestart, Event::Partition, Event::LinkKilled][kind];
        world.suffer(event, Scale { partition, ..scale }).await;
    }
    let whole = Bound { limit: length + RUN.limit, reason: "a day, and what a run takes besides" };
    assert!(crowd.exit(whole).await.success(), "{}", crowd.text());
    guests.exit(whole).await;
    let late = memory(&world).await;
    let said = world.daemon.as_ref().expect("a service that runs").program.text();
    assert!(!said.contains("panicked"), "{said}");
    Seen { faults, report: line(&crowd), memory: (early, late) }
}

fn assert_lossless(seen: &Seen) {
    let report = &seen.report;
    assert_eq!(report["final"], true, "{report}");
    for count in ["lost", "twice", "gaps"] {
        assert_eq!(report[count], 0, "{report}");
    }
}

#[tokio::test]
async fn a_short_day_loses_nothing() {
    let day = Day {
        length: Duration::from_secs(20),
        seed: 7,
        users: 50,
        messages_per_second: 100,
        churn: 10,
        calm: 4,
    };
    let seen = live(day).await;
    assert_lossless(&seen);
    assert!(seen.faults.iter().map(|(_, times)| times).sum::<u32>() > 1, "{seen:?}");
}

#[tokio::test]
#[ignore = "half an hour: make soak"]
#[expect(clippy::print_stdout, reason = "what it is run for")]
#[expect(clippy::disallowed_methods, reason = "no setting of the service")]
async fn a_long_day() {
    let given = std::env::var("SOAK").expect("SOAK=MINUTES:SEED, as make soak gives it");
    let (minutes, seed) = given.split_once(':').expect("MINUTES:SEED");
    let length = Duration::from_secs(minutes.parse::<u64>().expect("minutes") * 60);
    let seed = seed.parse().expect("a number as seed");
    let day = Day { length, seed, users: 500, messages_per_second: 300, churn: 50, calm: 30 };
    let seen = live(day).await;
    println!("{seen:#?}");
    assert_lossless(&seen);
    let (early, late) = seen.memory;
    assert!(late < early * 1.25, "memory grew from {early:.1} to {late:.1} MB");
}
