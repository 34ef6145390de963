//! A run: connect, publish, wait for stragglers, leave.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::DeliverArgs;
use super::listen::{Run, configs, plain, resuming};
use super::message::Messages;
use super::pace::Publishing;
use super::publisher::Lanes;
use super::tally::Tally;
use super::watch::{Phase, Watch};
use crate::bench::dialect::Mode;
use crate::bench::ramp::{Ramp, Turn};
use crate::open_files;
use crate::signal::Signals;

/// For the end: all closes sent and answered.
const LEAVE_BOUND: Duration = Duration::from_secs(6);

/// Between two looks at whether everything has arrived.
const LOOK: Duration = Duration::from_millis(20);

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
            () = publishing.ready(&tally, &lanes) => {
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

/// The next turn of a ramp that may be over.
async fn turn(ramp: &mut Option<Ramp>) -> Turn {
    match ramp {
        Some(ramp) => ramp.turn().await,
        None => std::future::pending().await,
    }
}
