//! The `reconnect` command: everybody is cut off at once and comes back.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::crowd::CrowdArgs;
use super::holding::{Holding, Opening, Shared};
use super::latency::Summary;
use super::output::chart::Page;
use super::ramp::RampArgs;
use super::score::{Counts, Failures};
use super::server::cpu_us_each;
use super::session::Sample;
use crate::backoff::Backoff;
use crate::protocol::UserId;

/// What the lines mean, for the help.
pub(super) const HELP: &str = "\
All connections are cut from this side at once, without a close frame, as by a network that fails. Each waits for a random part of \
--spread and connects again, and after a failure within 100 ms at first, 2 s at last. \"back_s\" is when so many per cent were back, \
in seconds since the cut; \"curve\" how many came back in each tenth of a second. \"handshake_ms\" and \"failed\" are of the return.";

/// Bounds of the waits after a failed attempt.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// Arguments of `reconnect`.
#[derive(Debug, Clone, clap::Args)]
pub struct ReconnectArgs {
    #[command(flatten)]
    crowd: CrowdArgs,
    #[command(flatten)]
    ramp: RampArgs,
    /// Seconds over which they come back, at random ("full jitter"); 0 is all at once
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    spread: u64,
    /// Seconds from the last connection to the cut
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    hold: u64,
    /// Seconds to wait for all to be back, on top of --spread; SIGTERM or SIGINT ends it early
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(rename = "final")]
    last: bool,
    command: &'static str,
    mode: &'static str,
    connections: usize,
    /// Open when they were cut.
    cut: usize,
    back: usize,
    back_s: Back,
    handshake_ms: Summary,
    failed: &'a Failures,
    server: Option<Spent>,
    curve: &'a [u64],
    samples: &'a [Sample],
}

/// When so many per cent were back; none where so many never were.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Back {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    p100: Option<f64>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Spent {
    cpu_us_per_connect: Option<f64>,
}

/// What the connections share, and when they came back.
struct Storm {
    shared: Arc<Shared>,
    cut: CancellationToken,
    spread: Duration,
    came: Mutex<Came>,
}

#[derive(Default)]
struct Came {
    cut: usize,
    at: Vec<Instant>,
}

/// Opens, cuts, waits, closes.
///
/// # Errors
/// When a secret or the server's figures cannot be read, nothing can be opened, the mode is a peer's, or standard output
/// cannot be written.
pub(super) async fn run(args: &ReconnectArgs) -> anyhow::Result<()> {
    args.crowd.own_mode_only()?;
    let holding = Holding::new(&args.crowd)?;
    let mut session = args.crowd.session().await?;
    let (shared, all) = (Arc::clone(&holding.shared), holding.len());
    let score = &shared.score;
    let spread = Duration::from_secs(args.spread);
    let (cut, came) = (CancellationToken::new(), Mutex::default());
    let storm = Arc::new(Storm { shared: Arc::clone(&shared), cut, spread, came });

    let (back, mut all_back) = mpsc::channel(1);
    let live = |number, user, opening| Arc::clone(&storm).live(number, user, opening, back.clone());
    holding.open(&mut session, args.ramp, live).await?;
    drop(back);
    session.wait("holding", score, Duration::from_secs(args.hold)).await?;

    score.begin_anew();
    let (before, start) = (session.server.read().await, Instant::now());
    storm.cut.cancel();
    // Nothing is sent: it ends with the last sender, which is the last that is back.
    let returning = timeout(spread + Duration::from_secs(args.seconds), all_back.recv());
    let came = || storm.came.lock().at.len() as u64;
    session.part("returning", score, all as u64, came, returning).await?;
    let (after, counts) = (session.server.read().await, score.counts());
    session.part("closing", score, 0, || 0, holding.end()).await?;

    let came = storm.came.lock();
    let times: Vec<Duration> = came.at.iter().map(|at| at.duration_since(start)).collect();
    let curve = tenths_of(&times);
    #[expect(clippy::cast_precision_loss, reason = "a report")]
    let cpu_us_per_connect = cpu_us_each(before, after, times.len() as f64);
    let report = Report {
        last: true,
        command: "reconnect",
        mode: args.crowd.mode.name(),
        connections: all,
        cut: came.cut,
        back: times.len(),
        back_s: Back::new(times, came.cut),
        handshake_ms: counts.handshakes.summary(),
        failed: &counts.failed,
        server: before.map(|_| Spent { cpu_us_per_connect }),
        curve: &curve,
        samples: &session.samples,
    };
    session.output.report(&report, || text(&report, &counts))
}

impl Storm {
    /// One connection: open, cut, back. `back` is dropped when it is.
    async fn live(self: Arc<Self>, number: usize, user: UserId, opening: Opening, back: mpsc::Sender<()>) {
        let shared = &self.shared;
        let line = shared.open(number, &user).await;
        drop(opening);
        let Some(line) = line else { return };
        let Some(line) = shared.hold(line, &self.cut).await else { return };
        // Without a word, as a network that fails.
        drop(line);
        shared.score.cut();
        self.came.lock().cut += 1;
        let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
        let mut wait = self.spread.mul_f64(rand::random_range(0.0..=1.0));
        let line = loop {
            if shared.stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
            if let Some(line) = shared.open(number, &user).await {
                break line;
            }
            wait = backoff.next_delay();
        };
        self.came.lock().at.push(Instant::now());
        drop(back);
        if let Some(line) = shared.hold(line, &shared.stop).await {
            shared.leave(line).await;
        }
    }
}

impl Back {
    /// Of so many that were cut.
    fn new(mut times: Vec<Duration>, cut: usize) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (cut * percent).div_ceil(100).max(1);
            times.get(rank - 1).map(|time| (time.as_secs_f64() * 1e3).round() / 1e3)
        };
        Self { p50: at(50), p90: at(90), p99: at(99), p100: at(100) }
    }
}

/// How many fall into each tenth of a second, up to the last.
fn tenths_of(times: &[Duration]) -> Vec<u64> {
    let mut curve = Vec::new();
    for time in times {
        let tenth = usize::try_from(time.as_millis() / 100).unwrap_or_default();
        if curve.len() <= tenth {
            curve.resize(tenth + 1, 0);
        }
        curve[tenth] += 1;
    }
    curve
}

fn text(report: &Report<'_>, counts: &Counts) -> String {
    let mut page = Page::new(&format!("reconnect, {} connections, {}", report.connections, report.mode));
    page.row("cut", &format!("{}   back: {}", report.cut, report.back));
    let Back { p50, p90, p99, p100 } = report.back_s;
    let known = [("50 %", p50), ("90 %", p90), ("99 %", p99), ("all", p100)];
    let known = known.iter().filter_map(|(part, at)| Some(format!("{part} {}", (*at)?)));
    page.row("back after so many s", &known.collect::<Vec<_>>().join("   "));
    page.row("failed attempts", &report.failed.words());
    page.latency("handshake", report.handshake_ms);
    page.number("CPU a handshake", report.server.and_then(|spent| Some((spent.cpu_us_per_connect?, "µs"))));
    page.histogram("handshakes", &counts.handshakes);
    page.curve("back in each tenth of a second", report.curve, "tenths of a second");
    page.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_parts_of_all_that_were_cut() {
        let times: Vec<_> = (1..=10).rev().map(|tenths| Duration::from_millis(tenths * 100 - 1)).collect();
        assert_eq!(tenths_of(&times), [1; 10]);
        let back = |cut| {
            let Back { p50, p90, p99, p100 } = Back::new(times.clone(), cut);
            [p50, p90, p99, p100]
        };
        assert_eq!(back(10), [Some(0.499), Some(0.899), Some(0.999), Some(0.999)]);
        assert_eq!(back(11), [Some(0.599), Some(0.999), None, None], "one never was");
        assert_eq!(back(0)[3], Some(0.099));
    }
}
