//! A run: connect, publish, wait for stragglers, leave.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{
    Instant, Interval, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::{DeliverArgs, Pace, Via};
use super::listen::{Run, configs, plain, resuming};
use super::message::Messages;
use super::publisher::Lanes;
use super::report::{Final, Looks, text};
use super::tally::Tally;
use crate::bench::dialect::Mode;
use crate::bench::output::Output;
use crate::bench::ramp::{Ramp, Turn};
use crate::bench::server::Server;
use crate::bench::session::{Sample, per_second, tenths};
use crate::open_files;
use crate::signal::Signals;

/// For the end: all closes sent and answered.
const LEAVE_BOUND: Duration = Duration::from_secs(6);

/// Between two looks at whether everything has arrived.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Holding,
    Publishing,
    Settling,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Holding => "holding",
            Self::Publishing => "publishing",
            Self::Settling => "settling",
        }
    }
}

/// What a run is watched with, and what was seen of it.
struct Watch {
    output: Output,
    server: Server,
    looks: Looks,
    start: Instant,
    samples: Vec<Sample>,
    /// Deliveries of each second of publishing.
    seconds: Vec<u64>,
    received: u64,
}

/// Runs until it is over. A signal ends publishing early, a second one the wait for stragglers.
///
/// # Errors
/// When a flag is missing, a secret cannot be read, nothing can be connected or published, or standard output cannot be
/// written. What becomes of the messages is no error.
pub(in crate::bench) async fn run(args: &DeliverArgs) -> anyhow::Result<()> {
    // What is lacking shows as connect errors of the kind "files".
    let _ = open_files::raise();
    let mut signals = Signals::listen()?;
    let (users, connections) = (args.crowd.all_users()?, args.crowd.connections());
    let tally = Tally::new(args.crowd.users, &connections);
    let messages = Arc::new(Messages::new(args.bytes));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let target = args.crowd.target()?;
    let run = Arc::new(Run {
        configs: configs(&target),
        target,
        mint: Arc::new(args.crowd.access.mint()?),
        messages: Arc::clone(&messages),
        tally: tally.clone(),
        stop: stop.clone(),
    });
    let mut lanes = Lanes::start(args, users.clone(), &messages, &tally, &tasks, &stop)?;
    let mut watch = Watch::start(args).await?;

    let mut coming = connections.iter().enumerate();
    let mut opening = Some(args.ramp.start());
    let mut publishing = Publishing::Not;
    let mut reporting = interval_at(watch.start + Duration::from_secs(1), Duration::from_secs(1));
    reporting.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut looking = interval(LOOK);
    looking.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut phase = Phase::Connecting;
    let mut deadline = watch.start + args.ramp.bound(connections.len());
    let (mut published_at, mut published_for) = (watch.start, Duration::ZERO);
    let mut idle = 0;
    watch.output.part(phase.name(), connections.len() as u64);
    loop {
        let over = tokio::select! {
            turn = turn(&mut opening) => {
                match coming.next() {
                    Some((connection, user)) => {
                        let (run, user) = (Arc::clone(&run), users[*user as usize].clone());
                        match args.crowd.mode {
                            Mode::V1 => tasks.spawn(resuming(run, connection, user, turn)),
                            _ => tasks.spawn(plain(run, connection, user, turn)),
                        };
                    }
                    None => opening = None,
                }
                false
            }
            () = publishing.ready(&tally) => {
                (0..publishing.burst()).for_each(|_| lanes.push());
                false
            }
            _ = reporting.tick() => {
                watch.second(&tally, phase).await?;
                false
            }
            _ = looking.tick(), if matches!(phase, Phase::Connecting | Phase::Settling) => {
                if phase == Phase::Settling && watch.looks.delivered.is_none() && tally.under_way() == 0 {
                    watch.looks.delivered = watch.server.read().await;
                }
                phase == Phase::Connecting && tally.all_opened()
            }
            () = sleep_until(deadline) => true,
            _ = signals.next() => {
                if phase == Phase::Connecting {
                    bail!("ended before all connections were open");
                }
                true
            }
            error = lanes.failed() => bail!("a publication was refused with {error}"),
        };
        if !over {
            continue;
        }
        phase = match phase {
            Phase::Connecting => {
                if tally.none_opened() {
                    bail!("no connection could be opened");
                }
                watch.looks.opened = watch.server.read().await;
                deadline = Instant::now() + Duration::from_secs(args.hold);
                Phase::Holding
            }
            Phase::Holding => {
                watch.looks.idle = watch.server.read().await;
                idle = tally.brief().0;
                publishing = Publishing::start(args);
                published_at = Instant::now();
                deadline = published_at + Duration::from_secs(args.seconds);
                Phase::Publishing
            }
            Phase::Publishing => {
                published_for = published_at.elapsed();
                publishing = Publishing::Not;
                lanes.finish();
                deadline = Instant::now() + Duration::from_secs(args.settle);
                Phase::Settling
            }
            Phase::Settling => break,
        };
        watch.output.part(phase.name(), deadline.duration_since(Instant::now()).as_secs());
    }
    if watch.looks.delivered.is_none() {
        watch.looks.delivered = watch.server.read().await;
    }
    stop.cancel();
    tasks.close();
    // Those that are not through by then show as still open.
    let _ = timeout(LEAVE_BOUND, tasks.wait()).await;
    sleep(Duration::from_secs(args.after)).await;
    watch.looks.after = watch.server.read().await;
    watch.finish(args, &tally, phase, idle, published_for)
}

/// When to publish.
enum Publishing {
    Not,
    /// So many with each tick.
    Paced(Interval, u32),
    /// So many when they fit into the window: messages, deliveries, window.
    Saturated(u32, u64, u64),
}

impl Publishing {
    fn start(args: &DeliverArgs) -> Self {
        let burst = args.burst().unwrap_or(1);
        match args.publish_rate {
            // A tick that came late is made up for, so the rate holds.
            Pace::Rate(rate) => Self::Paced(interval(Duration::from_secs(1) * burst / rate), burst),
            Pace::Max => {
                let deliveries = u64::from(burst) * u64::from(args.crowd.fan_out());
                Self::Saturated(burst, deliveries, args.window.into())
            }
        }
    }

    fn burst(&self) -> u32 {
        match self {
            Self::Not => 0,
            Self::Paced(_, burst) | Self::Saturated(burst, ..) => *burst,
        }
    }

    /// Waits for the next time. Nothing is lost when this is cancelled.
    async fn ready(&mut self, tally: &Tally) {
        match self {
            Self::Not => std::future::pending().await,
            Self::Paced(interval, _) => drop(interval.tick().await),
            Self::Saturated(_, deliveries, window) => tally.room(*deliveries, *window).await,
        }
    }
}

/// The next turn of a ramp that may be over.
async fn turn(ramp: &mut Option<Ramp>) -> Turn {
    match ramp {
        Some(ramp) => ramp.turn().await,
        None => std::future::pending().await,
    }
}

impl Watch {
    async fn start(args: &DeliverArgs) -> anyhow::Result<Self> {
        let server = args.crowd.server.find().await?;
        let looks = Looks { before: server.read().await, ..Looks::default() };
        let output = Output::new(args.crowd.json);
        let (start, samples, seconds) = (Instant::now(), Vec::new(), Vec::new());
        Ok(Self { output, server, looks, start, samples, seconds, received: 0 })
    }

    /// A second is over.
    async fn second(&mut self, tally: &Tally, phase: Phase) -> anyhow::Result<()> {
        let t = tenths(self.start.elapsed());
        let figures = self.server.read().await;
        let (open, opened, received) = tally.brief();
        let (rss, cpu_s) = figures.map(|figures| (figures.rss, figures.cpu_s)).unzip();
        self.samples.push(Sample { t, open, rss, cpu_s });
        let new = received - std::mem::replace(&mut self.received, received);
        if phase == Phase::Publishing {
            self.seconds.push(new);
        }
        let position = if phase == Phase::Connecting { opened } else { 0 };
        self.output.at(position, format!("{open} open, {received} delivered, {new} in this second"));
        self.output.line(&tally.report(t, phase.name(), false, false))
    }

    fn finish(
        &self,
        args: &DeliverArgs,
        tally: &Tally,
        phase: Phase,
        idle: u64,
        published_for: Duration,
    ) -> anyhow::Result<()> {
        let judged = args.crowd.mode == Mode::V1 && matches!(args.via, Via::Script | Via::Http);
        let report = tally.report(tenths(self.start.elapsed()), phase.name(), true, judged);
        let latencies = tally.latencies();
        let counts = &report.counts;
        let last = Final {
            command: "deliver",
            mode: args.crowd.mode.name(),
            report: &report,
            delivered: counts.received,
            delivered_per_s: per_second(counts.received, published_for),
            latency_histogram: latencies.histogram(),
            server: self.looks.spent(idle, counts.opened, counts.received),
            samples: &self.samples,
        };
        self.output.report(&last, || text(&last, args.crowd.mode, &latencies, &self.seconds))?;
        match counts.accepted {
            0 => bail!("nothing was published: {}", counts.last_publish_error.as_deref().unwrap_or_default()),
            _ => Ok(()),
        }
    }
}
