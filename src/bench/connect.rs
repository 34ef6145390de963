//! The `connect` command: what connections cost to open, to hold, and once they are gone.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::crowd::CrowdArgs;
use super::holding::{Holding, Opening, Shared};
use super::latency::Summary;
use super::output::chart::Page;
use super::ramp::RampArgs;
use super::score::{Counts, Failures, words};
use super::server::{Figures, Memory, cpu_us_each};
use super::session::{Sample, per_second};
use crate::protocol::UserId;

/// What the lines mean, for the help.
pub(super) const HELP: &str = "\
\"connects_per_s\" is from the first attempt to the last answer; \"handshake_ms\" from the look-up of the name to the answer that \
makes a connection ready: the 101, or the login's where the mode has one. \"failed\" is by kind; http_503 is an answer in HTTP.

With --pid or --metrics-url: memory before the first connection, with all of them idle, and --after seconds after the last has \
left; CPU of a handshake, all of the server's until the last answer; CPU of an idle connection and second, over the second half of \
the hold, which is exact only where nobody else uses the server and it lasts some pings.";

/// Arguments of `connect`.
#[derive(Debug, Clone, clap::Args)]
pub struct ConnectArgs {
    #[command(flatten)]
    crowd: CrowdArgs,
    #[command(flatten)]
    ramp: RampArgs,
    /// Seconds for which all are held; SIGTERM or SIGINT ends it early
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    hold: u64,
    /// Seconds from the last close to the last look at the server's memory
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    after: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(rename = "final")]
    last: bool,
    command: &'static str,
    mode: &'static str,
    connections: usize,
    opened: u64,
    failed: &'a Failures,
    closes: &'a std::collections::BTreeMap<u16, u64>,
    left: u64,
    connects_per_s: f64,
    handshake_ms: Summary,
    server: Option<Spent>,
    samples: &'a [Sample],
}

/// What the server spent.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spent {
    #[serde(flatten)]
    memory: Memory,
    cpu_us_per_connect: Option<f64>,
    idle_cpu_us_per_connection_second: Option<f64>,
}

/// The server at five times.
struct Looks {
    before: Option<Figures>,
    opened: Option<Figures>,
    half: Option<Figures>,
    idle: Option<Figures>,
    after: Option<Figures>,
}

/// Opens, holds, closes.
///
/// # Errors
/// When a secret or the server's figures cannot be read, nothing can be opened, or standard output cannot be written.
pub(super) async fn run(args: &ConnectArgs) -> anyhow::Result<()> {
    let holding = Holding::new(&args.crowd)?;
    let mut session = args.crowd.session().await?;
    let shared = Arc::clone(&holding.shared);
    let score = &shared.score;

    let before = session.server.read().await;
    let start = Instant::now();
    let live = |number, user, opening| live(Arc::clone(&shared), number, user, opening);
    let open = holding.open(&mut session, args.ramp, live).await?;
    let took = start.elapsed();
    let opened = session.server.read().await;

    let hold = Duration::from_secs(args.hold);
    let mut cut_short = session.wait("holding", score, hold / 2).await?.is_none();
    let (half, half_at) = (session.server.read().await, Instant::now());
    if !cut_short {
        cut_short = session.wait("holding", score, hold.saturating_sub(hold / 2)).await?.is_none();
    }
    let (idle, idle_for) = (session.server.read().await, half_at.elapsed());
    let closing = session.part("closing", score, 0, || 0, holding.end()).await?;
    if !cut_short && closing.is_some() {
        session.wait("settling", score, Duration::from_secs(args.after)).await?;
    }
    let after = session.server.read().await;

    let looks = Looks { before, opened, half, idle, after };
    let spent = looks.spent(open, score.look(|counts| counts.opened), idle_for);
    let counts = score.counts();
    let report = Report {
        last: true,
        command: "connect",
        mode: args.crowd.mode.name(),
        connections: holding.len(),
        opened: counts.opened,
        failed: &counts.failed,
        closes: &counts.closes,
        left: counts.left,
        connects_per_s: per_second(counts.opened, took),
        handshake_ms: counts.handshakes.summary(),
        server: spent,
        samples: &session.samples,
    };
    session.output.report(&report, || text(&report, &counts))
}

/// One connection, once.
async fn live(shared: Arc<Shared>, number: usize, user: UserId, opening: Opening) {
    let line = shared.open(number, &user).await;
    drop(opening);
    if let Some(line) = line
        && let Some(line) = shared.hold(line, &shared.stop).await
    {
        shared.leave(line).await;
    }
}

impl Looks {
    /// None where no server was named, or none could be read any more at the end of the start.
    #[expect(clippy::cast_precision_loss, reason = "a report")]
    fn spent(&self, open: u64, opened: u64, idle_for: Duration) -> Option<Spent> {
        self.before?;
        Some(Spent {
            memory: Memory::new(self.before, self.idle, self.after, open),
            cpu_us_per_connect: cpu_us_each(self.before, self.opened, opened as f64),
            idle_cpu_us_per_connection_second: cpu_us_each(
                self.half,
                self.idle,
                open as f64 * idle_for.as_secs_f64(),
            ),
        })
    }
}

fn text(report: &Report<'_>, counts: &Counts) -> String {
    let mut page = Page::new(&format!("connect, {} connections, {}", report.connections, report.mode));
    page.row("opened", &format!("{}   failed: {}", report.opened, report.failed.words()));
    page.row("connects a second", &report.connects_per_s.to_string());
    page.latency("handshake", report.handshake_ms);
    page.row("closed by the server", &words(&counts.closes));
    if let Some(spent) = report.server {
        page.memory(spent.memory);
        page.number("CPU a handshake", spent.cpu_us_per_connect.map(|us| (us, "µs")));
        let idle = spent.idle_cpu_us_per_connection_second;
        page.number("CPU idle", idle.map(|us| (us, "µs a connection and second")));
    }
    page.histogram("handshakes", &counts.handshakes);
    let rss: Vec<u64> = report.samples.iter().filter_map(|sample| Some(sample.rss? / 1024)).collect();
    page.curve("server's memory in KiB", &rss, "s");
    page.text()
}
