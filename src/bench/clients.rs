//! The `clients` command: holds connections open, and says every second how they fare.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{AccessArgs, Dialer};
use super::output::print;
use super::tally::Tally;
use crate::backoff::Backoff;
use crate::client::{DialError, Socket, leave};
use crate::open_files;
use crate::protocol::{IdError, UserId};
use crate::signal::Signals;

/// Bounds of the first and of later waits before connecting again. Shorter than what clients are told to do, so that a
/// run shows the pace of the closes and not of the waits.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// For one connection, from the look-up to the 101: longer than a server takes that is still sane.
const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// For the end: all closes sent and answered.
const LEAVE_BOUND: Duration = Duration::from_secs(5);

/// From a close frame to the end of the stream, which is the server's to close.
const CLOSE_BOUND: Duration = Duration::from_secs(5);

/// What a lost connection is counted as, and a close frame without a code (RFC 6455 §7.4.1).
const ABNORMAL: u16 = 1006;
const NO_CODE: u16 = 1005;

/// Arguments of `clients`.
#[derive(Debug, Clone, clap::Args)]
pub struct ClientsArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Number of users: PREFIX0, PREFIX1 and so on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Connections of each user
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections_per_user: u32,
    /// What stands before the number in a user id
    #[arg(long, value_name = "PREFIX", default_value = "u")]
    user_prefix: String,
    /// New connections a second at the start; reconnects are not held back
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds until the end; 0 is until SIGTERM or SIGINT, which end it in any case
    #[arg(long, value_name = "S", default_value_t = 0)]
    seconds: u64,
    /// Seconds without a frame, a ping included, after which a connection counts as lost. The server pings each 30 s
    #[arg(long, value_name = "S", default_value_t = 75, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    silence: u64,
    /// Try each connection once: what is closed or refused stays so
    #[arg(long)]
    hold: bool,
}

impl ClientsArgs {
    /// Every connection's user, so that the users come one after the other, and then their further connections.
    fn connections(&self) -> impl Iterator<Item = Result<UserId, IdError>> {
        (0..self.connections_per_user)
            .flat_map(|_| 0..self.users)
            .map(|user| UserId::new(&format!("{}{user}", self.user_prefix)))
    }
}

/// What all connections share.
struct Run {
    dialer: Dialer,
    tally: Tally,
    stop: CancellationToken,
    hold: bool,
    /// A machine that is gone sends no FIN: only this tells.
    silence: Duration,
}

/// Runs until the time is over or a signal comes, then closes all connections with 1000, within five seconds.
///
/// # Errors
/// When the key is none, signals cannot be listened to, or standard output cannot be written.
pub(super) async fn run(args: &ClientsArgs) -> anyhow::Result<()> {
    // What is lacking shows as connect errors of the kind "files".
    let _ = open_files::raise();
    let mut signals = Signals::listen()?;
    let dialer = args.access.dialer(CONNECT_BOUND)?;
    let stop = CancellationToken::new();
    let silence = Duration::from_secs(args.silence);
    let run = Arc::new(Run { dialer, tally: Tally::default(), stop: stop.clone(), hold: args.hold, silence });
    let tasks = TaskTracker::new();
    let mut connections = args.connections();
    let mut next = connections.next().transpose()?;

    let start = Instant::now();
    let elapsed = || start.elapsed().as_secs_f64();
    // A tick that came late is made up for, so the rate holds.
    let mut opening = interval(Duration::from_secs(1) / args.rate);
    let second = Duration::from_secs(1);
    let mut reporting = interval_at(start + second, second);
    reporting.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut end = pin!(async {
        match args.seconds {
            0 => std::future::pending().await,
            seconds => sleep(Duration::from_secs(seconds)).await,
        }
    });
    loop {
        tokio::select! {
            _ = opening.tick(), if next.is_some() => {
                if let Some(user) = next.take() {
                    tasks.spawn(live(Arc::clone(&run), user));
                    next = connections.next().transpose()?;
                }
            }
            _ = reporting.tick() => print(&run.tally.report(elapsed(), false))?,
            () = &mut end => break,
            _ = signals.next() => break,
        }
    }
    stop.cancel();
    tasks.close();
    // Those that are not through by then show as still open.
    let _ = timeout(LEAVE_BOUND, tasks.wait()).await;
    print(&run.tally.report(elapsed(), true))
}

/// One connection, again and again.
async fn live(run: Arc<Run>, user: UserId) {
    let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
    let mut was_open = false;
    // Boxed, for its state is far larger than an open connection's.
    while let Some(outcome) = run.stop.run_until_cancelled(Box::pin(run.dialer.dial(&user))).await {
        let mut stay_away = Duration::ZERO;
        match outcome {
            Ok(socket) => {
                run.tally.opened();
                was_open = true;
                let opened = Instant::now();
                listen(&run, socket).await;
                // One that is closed at once, as for a bad token, proves nothing.
                if opened.elapsed() >= BACKOFF_CAP {
                    backoff.reset();
                }
            }
            Err(DialError::Refused { status, retry_after, .. }) => {
                run.tally.refused(status);
                stay_away = retry_after.unwrap_or_default();
            }
            Err(DialError::Failed { kind, .. }) => run.tally.failed(kind),
        }
        let pause = sleep(stay_away + backoff.next_delay());
        if run.hold || run.stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
        if was_open {
            run.tally.reconnects();
        }
    }
}

/// Counts what arrives until the connection ends, by itself or with the run.
async fn listen(run: &Run, mut socket: Socket) {
    loop {
        let frame = timeout(run.silence, socket.next());
        match run.stop.run_until_cancelled(frame).await.map(Result::unwrap_or_default) {
            Some(Some(Ok(Message::Text(_) | Message::Binary(_)))) => run.tally.message(),
            Some(Some(Ok(Message::Close(frame)))) => {
                run.tally.closed(frame.map_or(NO_CODE, |frame| frame.code.into()));
                // Reading on sends the answer, and sees the server close.
                let rest = async { while let Some(Ok(_)) = socket.next().await {} };
                let _ = timeout(CLOSE_BOUND, rest).await;
                return;
            }
            Some(Some(Ok(_))) => {}
            Some(Some(Err(_)) | None) => return run.tally.closed(ABNORMAL),
            None => {
                return match leave(&mut socket).await {
                    true => run.tally.left(),
                    false => run.tally.closed(ABNORMAL),
                };
            }
        }
    }
}
