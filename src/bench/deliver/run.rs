//! A run: connect, publish, wait for stragglers, leave.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::{DeliverArgs, Mode, Via};
use super::message::Messages;
use super::publisher::Lanes;
use super::tally::Tally;
use crate::bench::access::{Mint, Tokens};
use crate::bench::print;
use crate::client::{Client, ClientConfig, Event};
use crate::open_files;
use crate::protocol::UserId;
use crate::signal::Signals;

/// Bounds of the waits of clients: shorter than what clients are told to do, so that a run shows the service's part.
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// For the end: all closes sent and answered.
const LEAVE_BOUND: Duration = Duration::from_secs(6);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Publishing,
    Settling,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Publishing => "publishing",
            Self::Settling => "settling",
        }
    }
}

/// What all connections share.
struct Run {
    config: Arc<ClientConfig>,
    mint: Arc<Mint>,
    messages: Arc<Messages>,
    tally: Tally,
    stop: CancellationToken,
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
    let (users, connections) = (args.all_users()?, args.connections());
    let tally = Tally::new(args.users, &connections);
    let messages = Arc::new(Messages::new(args.bytes));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let run = Arc::new(Run {
        config: Arc::new(client_config(args)),
        mint: Arc::new(args.access.mint()?),
        messages: Arc::clone(&messages),
        tally: tally.clone(),
        stop: stop.clone(),
    });
    let mut lanes = Lanes::start(args, users.clone(), &messages, &tally, &tasks, &stop)?;

    let start = Instant::now();
    let elapsed = || start.elapsed().as_secs_f64();
    let mut coming = connections.iter().enumerate();
    // A tick that came late is made up for, so the rate holds.
    let mut opening = Some(interval(Duration::from_secs(1) / args.rate));
    let mut publishing: Option<Interval> = None;
    let mut reporting = interval_at(start + Duration::from_secs(1), Duration::from_secs(1));
    reporting.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut phase = Phase::Connecting;
    let mut deadline = start + args.connect_bound(connections.len());
    loop {
        let over = tokio::select! {
            () = tick(&mut opening) => {
                match coming.next() {
                    Some((connection, user)) => {
                        let user = users[*user as usize].clone();
                        tasks.spawn(listen(Arc::clone(&run), connection, user));
                    }
                    None => opening = None,
                }
                false
            }
            () = tick(&mut publishing) => {
                lanes.push();
                false
            }
            _ = reporting.tick() => {
                print(&tally.report(elapsed(), phase.name(), false, false))?;
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
        match phase {
            Phase::Connecting => {
                if tally.none_opened() {
                    bail!("no connection could be opened");
                }
                phase = Phase::Publishing;
                publishing = Some(interval(Duration::from_secs(1) / args.publish_rate));
                deadline = Instant::now() + Duration::from_secs(args.seconds);
            }
            Phase::Publishing => {
                phase = Phase::Settling;
                publishing = None;
                lanes.finish();
                deadline = Instant::now() + Duration::from_secs(args.settle);
            }
            Phase::Settling => break,
        }
    }
    stop.cancel();
    tasks.close();
    // Those that are not through by then show as still open.
    let _ = timeout(LEAVE_BOUND, tasks.wait()).await;
    let judged = args.mode == Mode::V1 && args.via != Via::Redis;
    let report = tally.report(elapsed(), phase.name(), true, judged);
    print(&report)?;
    match report.counts {
        counts if counts.accepted > 0 => Ok(()),
        counts => bail!("nothing was published: {}", counts.last_publish_error.unwrap_or_default()),
    }
}

fn client_config(args: &DeliverArgs) -> ClientConfig {
    ClientConfig {
        v1: args.mode == Mode::V1,
        backoff_cap: BACKOFF_CAP,
        steady: BACKOFF_CAP,
        silence: Duration::from_secs(args.silence),
        ..ClientConfig::new(args.access.endpoint().clone())
    }
}

/// The next tick of an interval that may not run.
async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// One connection, again and again, until it is told not to come back or the run ends.
async fn listen(run: Arc<Run>, connection: usize, user: UserId) {
    let tokens = Tokens { mint: Arc::clone(&run.mint), user };
    let mut client = Client::new(Arc::clone(&run.config), tokens);
    let (mut open, mut repeated) = (false, 0);
    while let Some(Some(event)) = run.stop.run_until_cancelled(client.next()).await {
        match &event {
            Event::Message(message) => {
                run.tally.arrived(connection, run.messages.read(message.body.as_str()));
            }
            other => run.tally.event(connection, other, &mut open),
        }
        run.tally.repeated(client.repeated() - repeated);
        repeated = client.repeated();
    }
    run.tally.repeated(client.repeated() - repeated);
    let answered = client.close().await;
    if open {
        run.tally.left(answered);
    }
}
