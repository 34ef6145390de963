//! The `churn` command: connections that come and go, and whether the server's memory creeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::crowd::CrowdArgs;
use super::holding::{Holding, Opening, Shared};
use super::latency::Summary;
use super::output::chart::Page;
use super::ramp::RampArgs;
use super::score::{Counts, Failures, words};
use super::server::cpu_us_each;
use super::session::{Sample, per_second};
use crate::protocol::UserId;

/// What the lines mean, for the help.
pub(super) const HELP: &str = "\
A cycle is a connection that leaves with 1000, sees its close answered, and is opened anew. \"late\" were due while their connection \
was still on its way: the service, or this machine, is slower than the rate. \"handshake_ms\" and CPU are of the churn alone.";

/// Arguments of `churn`.
#[derive(Debug, Clone, clap::Args)]
pub struct ChurnArgs {
    #[command(flatten)]
    crowd: CrowdArgs,
    /// Connections that are replaced each second, one after the other; the longest open first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds of it; SIGTERM or SIGINT ends it early
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(rename = "final")]
    last: bool,
    command: &'static str,
    mode: &'static str,
    connections: usize,
    cycles: u64,
    cycles_per_s: f64,
    late: u64,
    failed: &'a Failures,
    closes: &'a std::collections::BTreeMap<u16, u64>,
    handshake_ms: Summary,
    server: Option<Spent>,
    samples: &'a [Sample],
}

/// What the server spent.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spent {
    cpu_us_per_cycle: Option<f64>,
    /// With all connections open, in bytes.
    rss_start: u64,
    /// The same at the end.
    rss_end: Option<u64>,
}

/// The places of the connections.
struct Slots {
    shared: Arc<Shared>,
    /// Cancelled when a place's connection is to be replaced, and made anew when it is on its way.
    tokens: Mutex<Vec<CancellationToken>>,
    cycles: AtomicU64,
}

/// Opens, replaces, closes.
///
/// # Errors
/// When a secret or the server's figures cannot be read, nothing can be opened, the mode is a peer's, or standard output
/// cannot be written.
pub(super) async fn run(args: &ChurnArgs) -> anyhow::Result<()> {
    args.crowd.own_mode_only()?;
    let holding = Holding::new(&args.crowd)?;
    let mut session = args.crowd.session().await?;
    let (shared, all) = (Arc::clone(&holding.shared), holding.len());
    let score = &shared.score;
    let tokens = (0..all).map(|_| shared.stop.child_token()).collect();
    let slots = Arc::new(Slots {
        shared: Arc::clone(&shared),
        tokens: Mutex::new(tokens),
        cycles: AtomicU64::new(0),
    });

    let live = |number, user, opening| Arc::clone(&slots).live(number, user, opening);
    holding.open(&mut session, RampArgs::default(), live).await?;
    score.begin_anew();
    let (before, start) = (session.server.read().await, Instant::now());
    let late = AtomicU64::new(0);
    let cycles = || slots.cycles.load(Ordering::Relaxed);
    let length = args.seconds * u64::from(args.rate);
    session.part("churning", score, length, cycles, slots.churn(args, all, &late)).await?;
    let (after, took) = (session.server.read().await, start.elapsed());
    let (cycles, counts) = (cycles(), score.counts());
    session.part("closing", score, 0, || 0, holding.end()).await?;

    #[expect(clippy::cast_precision_loss, reason = "a report")]
    let spent = before.map(|before| Spent {
        cpu_us_per_cycle: cpu_us_each(Some(before), after, cycles as f64),
        rss_start: before.rss,
        rss_end: after.map(|after| after.rss),
    });
    let report = Report {
        last: true,
        command: "churn",
        mode: args.crowd.mode.name(),
        connections: all,
        cycles,
        cycles_per_s: per_second(cycles, took),
        late: late.into_inner(),
        failed: &counts.failed,
        closes: &counts.closes,
        handshake_ms: counts.handshakes.summary(),
        server: spent,
        samples: &session.samples,
    };
    session.output.report(&report, || text(&report, &counts))
}

impl Slots {
    /// Replaces one place's connection after the other.
    async fn churn(&self, args: &ChurnArgs, all: usize, late: &AtomicU64) {
        let mut ticks = interval(Duration::from_secs(1) / args.rate);
        let end = Instant::now() + Duration::from_secs(args.seconds);
        for number in (0..all).cycle() {
            if ticks.tick().await >= end {
                return;
            }
            let token = self.tokens.lock()[number].clone();
            if token.is_cancelled() {
                late.fetch_add(1, Ordering::Relaxed);
            }
            token.cancel();
        }
    }

    /// One place.
    async fn live(self: Arc<Self>, number: usize, user: UserId, opening: Opening) {
        let shared = &self.shared;
        let mut line = shared.open(number, &user).await;
        drop(opening);
        loop {
            let token = self.tokens.lock()[number].clone();
            let held = match line {
                Some(line) => shared.hold(line, &token).await,
                None => None,
            };
            // One that was closed or refused waits for its turn like any other.
            token.cancelled().await;
            if let Some(line) = held {
                shared.leave(line).await;
            }
            if shared.stop.is_cancelled() {
                return;
            }
            line = shared.open(number, &user).await;
            self.cycles.fetch_add(u64::from(line.is_some()), Ordering::Relaxed);
            self.tokens.lock()[number] = shared.stop.child_token();
        }
    }
}

fn text(report: &Report<'_>, counts: &Counts) -> String {
    let mut page = Page::new(&format!("churn, {} connections, {}", report.connections, report.mode));
    page.row(
        "cycles",
        &format!("{}   {} a second   late {}", report.cycles, report.cycles_per_s, report.late),
    );
    page.row("failed", &report.failed.words());
    page.row("closed by the server", &words(&counts.closes));
    page.latency("handshake", report.handshake_ms);
    if let Some(spent) = report.server {
        page.number("CPU a cycle", spent.cpu_us_per_cycle.map(|us| (us, "µs")));
        page.number("server's memory at start", Some((spent.rss_start / 1024, "KiB")));
        page.number("server's memory at end", spent.rss_end.map(|rss| (rss / 1024, "KiB")));
    }
    let rss: Vec<u64> = report.samples.iter().filter_map(|sample| Some(sample.rss? / 1024)).collect();
    page.curve("server's memory in KiB", &rss, "s");
    page.text()
}
