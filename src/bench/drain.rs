//! The `drain` command: a server lets its clients go, and they come back somewhere else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{Mint, Tokens};
use super::crowd::CrowdArgs;
use super::output::chart::Page;
use super::ramp::{RampArgs, Turn};
use super::score::{Score, words};
use super::session::{Sample, Session};
use crate::client::{Client, ClientConfig, DialError, Event};
use crate::fetch::Fetch;
use crate::open_files;
use crate::protocol::UserId;

/// What the lines mean, for the help.
pub(super) const HELP: &str = "\
Clients behave as the reference client does: they wait for a random time, and in v1 mode for as long as the server says. Begins once \
all are open; ends when all are back and no close came for --quiet seconds, or after --seconds. \"curve\" has a second each, from the \
drain's beginning: how many were closed and how many came back. \"all_back_s\" is when the last was back; none where some are not.";

/// For the request that begins it, and the end of all connections.
const DRAIN_BOUND: Duration = Duration::from_secs(10);
const LEAVE_BOUND: Duration = Duration::from_secs(10);

/// Between two looks at whether it is over.
const LOOK: Duration = Duration::from_millis(50);

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
    failed: &'a super::score::Failures,
    worst_second: Second,
    all_back_s: Option<f64>,
    curve: &'a [Second],
    samples: &'a [Sample],
}

/// What happened in one second; in the worst, the highest of each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
struct Second {
    closed: u64,
    reconnects: u64,
}

/// What the clients share.
struct Crowd {
    config: Vec<Arc<ClientConfig>>,
    mint: Arc<Mint>,
    score: Score,
    stop: CancellationToken,
    drain: Mutex<Drain>,
}

/// What was seen of the drain.
struct Drain {
    begun: Instant,
    curve: Vec<Second>,
    last_close: Option<Instant>,
    last_back: Instant,
    reconnects: u64,
}

/// Connects, has it drained, watches, leaves.
///
/// # Errors
/// When a secret cannot be read, not all connections can be opened, the drain cannot be begun, the mode is a peer's, or
/// standard output cannot be written.
pub(super) async fn run(args: &DrainArgs) -> anyhow::Result<()> {
    args.crowd.own_mode_only()?;
    // What is lacking shows as failures of the kind "files".
    let _ = open_files::raise();
    let mut session = Session::start(args.crowd.json, args.crowd.server.find().await?)?;
    let (users, connections) = (args.crowd.all_users()?, args.crowd.connections());
    let crowd = Arc::new(Crowd::new(args)?);
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

impl Crowd {
    fn new(args: &DrainArgs) -> anyhow::Result<Self> {
        let target = args.crowd.target()?;
        let config = |turn| {
            Arc::new(ClientConfig {
                v1: args.crowd.mode.protocol().is_some(),
                source: target.source(turn),
                silence: target.silence,
                ..ClientConfig::new(target.endpoint.clone())
            })
        };
        let config = (0..target.sources.len().max(1)).map(config).collect();
        let (score, stop) = (Score::default(), CancellationToken::new());
        Ok(Self { config, mint: Arc::new(target.mint), score, stop, drain: Mutex::new(Drain::new()) })
    }

    /// Waits until so many are open. Nothing announces it that is worth its cost.
    async fn until(&self, enough: impl Fn(u64) -> bool) {
        while !self.score.look(|counts| enough(counts.open)) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until all are back and it is quiet.
    async fn over(&self, all: u64, quiet: Duration) {
        loop {
            self.until(|open| open >= all).await;
            let last = self.drain.lock().last_close;
            if last.is_some_and(|last| last.elapsed() >= quiet) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// One client, until it is told not to come back or the run ends.
    async fn live(self: Arc<Self>, number: usize, user: UserId, turn: Turn) {
        let config = Arc::clone(&self.config[number % self.config.len()]);
        let mut client = Client::new(config, Tokens { mint: Arc::clone(&self.mint), user });
        let (mut begun, mut open, mut was_open, mut turn) = (Instant::now(), false, false, turn);
        while let Some(Some(event)) = self.stop.run_until_cancelled(client.next()).await {
            match event {
                Event::Opened(_) => {
                    self.score.opened(begun);
                    if was_open {
                        self.drain.lock().back();
                    }
                    (open, was_open) = (true, true);
                }
                Event::Closed { code, .. } => {
                    self.score.closed(code);
                    self.drain.lock().closed();
                    open = false;
                }
                Event::Refused { status, .. } => self.score.failed(&DialError::refused(status, None, b"")),
                Event::Failed { kind, reason, .. } => self.score.failed(&DialError::Failed { kind, reason }),
                _ => continue,
            }
            turn = None;
            begun = Instant::now();
        }
        drop(turn);
        let answered = client.close().await;
        if open {
            self.score.left(answered);
        }
    }
}

impl Drain {
    fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, curve: Vec::new(), last_close: None, last_back: now, reconnects: 0 }
    }

    /// What was before is forgotten.
    fn begin(&mut self) {
        *self = Self::new();
    }

    fn closed(&mut self) {
        self.last_close = Some(Instant::now());
        self.second().closed += 1;
    }

    fn back(&mut self) {
        self.last_back = Instant::now();
        self.reconnects += 1;
        self.second().reconnects += 1;
    }

    fn second(&mut self) -> &mut Second {
        let second = usize::try_from(self.begun.elapsed().as_secs()).unwrap_or_default();
        if self.curve.len() <= second {
            self.curve.resize(second + 1, Second::default());
        }
        &mut self.curve[second]
    }

    fn worst(&self) -> Second {
        let highest = |value: fn(&Second) -> u64| self.curve.iter().map(value).max().unwrap_or_default();
        Second { closed: highest(|second| second.closed), reconnects: highest(|second| second.reconnects) }
    }
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
