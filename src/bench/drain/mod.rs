//! The `drain` command: a server lets its clients go, and they come back somewhere else.

mod crowd;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crowd::{Crowd, Second};

use super::crowd::CrowdArgs;
use super::output::chart::Page;
use super::ramp::RampArgs;
use super::score::{Failures, words};
use super::session::Sample;
use crate::fetch::Fetch;

/// What the lines mean, for the help.
pub(super) const HELP: &str = "\
Clients behave as the reference client does: they wait for a random time, and in v1 mode for as long as the server says. Begins once \
all are open; ends when all are back and no close came for --quiet seconds, or after --seconds. \"curve\" has a second each, from the \
drain's beginning: how many were closed and how many came back. \"all_back_s\" is when the last was back; none where some are not.";

/// For the request that begins it, and the end of all connections.
const DRAIN_BOUND: Duration = Duration::from_secs(10);
const LEAVE_BOUND: Duration = Duration::from_secs(10);

/// Arguments of `drain`.
#[derive(Debug, Clone, clap::Args)]
pub struct DrainArgs {
    #[command(flatten)]
    crowd: CrowdArgs,
    #[command(flatten)]
    ramp: RampArgs,
    /// Where a POST begins it: `http://HOST:9004/drain`. Without it somebody else does, as by a rollout
    #[arg(long, value_name = "URL")]
    drain_url: Option<String>,
    /// Seconds until the end, where not all come back; SIGTERM or SIGINT ends it early
    #[arg(long, value_name = "S", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds without a close after which it is over
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    quiet: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(rename = "final")]
    last: bool,
    command: &'static str,
    mode: &'static str,
    connections: usize,
    open: u64,
    closed: u64,
    reconnects: u64,
    closes: &'a BTreeMap<u16, u64>,
    /// Attempts to come back that came to nothing.
    failed: &'a Failures,
    worst_second: Second,
    all_back_s: Option<f64>,
    curve: &'a [Second],
    samples: &'a [Sample],
}

/// Connects, has it drained, watches, leaves.
///
/// # Errors
/// When a secret cannot be read, not all connections can be opened, the drain cannot be begun, the mode is a peer's, or
/// standard output cannot be written.
pub(super) async fn run(args: &DrainArgs) -> anyhow::Result<()> {
    args.crowd.own_mode_only()?;
    let mut session = args.crowd.session().await?;
    let (users, connections) = (args.crowd.all_users()?, args.crowd.connections());
    let crowd = Arc::new(Crowd::new(&args.crowd)?);
    let (score, all, tasks) = (&crowd.score, connections.len() as u64, TaskTracker::new());

    let mut ramp = args.ramp.start();
    let opening = async {
        for (number, user) in connections.iter().enumerate() {
            let (turn, user) = (ramp.turn().await, users[*user as usize].clone());
            tasks.spawn(Arc::clone(&crowd).live(number, user, turn));
        }
        crowd.until(|counts| counts == all).await;
    };
    let opened = || score.look(|counts| counts.open);
    let bound = args.ramp.bound(connections.len());
    match session.part("opening", score, all, opened, timeout(bound, opening)).await? {
        None => bail!("ended before all connections were open"),
        Some(Err(_)) => bail!(
            "only {} of {all} connections could be opened; failures: {}",
            opened(),
            score.counts().failed.words()
        ),
        Some(Ok(())) => {}
    }
    score.begin_anew();
    crowd.drain.lock().begin();
    if let Some(url) = &args.drain_url {
        Fetch::new(DRAIN_BOUND).post(url).await.context("the drain could not be begun")?;
    }
    let quiet = Duration::from_secs(args.quiet);
    let watching = timeout(Duration::from_secs(args.seconds), crowd.over(all, quiet));
    let closed = || score.look(|counts| counts.closes.values().sum());
    session.part("draining", score, all, closed, watching).await?;
    let counts = score.counts();
    crowd.stop.cancel();
    tasks.close();
    let leaving = async { drop(timeout(LEAVE_BOUND, tasks.wait()).await) };
    session.part("closing", score, 0, || 0, leaving).await?;

    let drain = crowd.drain.lock();
    let back = counts.open == all && drain.reconnects > 0;
    let report = Report {
        last: true,
        command: "drain",
        mode: args.crowd.mode.name(),
        connections: connections.len(),
        open: counts.open,
        closed: counts.closes.values().sum(),
        reconnects: drain.reconnects,
        closes: &counts.closes,
        failed: &counts.failed,
        worst_second: drain.worst(),
        all_back_s: back.then(|| drain.last_back.duration_since(drain.begun).as_secs_f64()),
        curve: &drain.curve,
        samples: &session.samples,
    };
    session.output.report(&report, || text(&report))
}

fn text(report: &Report<'_>) -> String {
    let mut page = Page::new(&format!("drain, {} connections, {}", report.connections, report.mode));
    page.row("closed", &format!("{}   by code: {}", report.closed, words(report.closes)));
    page.row("came back", &format!("{}   open at the end: {}", report.reconnects, report.open));
    let Second { closed, reconnects } = report.worst_second;
    page.row("worst second", &format!("{closed} closed   {reconnects} came back"));
    page.number("all were back after", report.all_back_s.map(|seconds| (format!("{seconds:.1}"), "s")));
    page.row("failed attempts", &report.failed.words());
    let of = |value: fn(&Second) -> u64| report.curve.iter().map(value).collect::<Vec<_>>();
    page.curve("closed each second", &of(|second| second.closed), "s");
    page.curve("came back each second", &of(|second| second.reconnects), "s");
    page.text()
}
