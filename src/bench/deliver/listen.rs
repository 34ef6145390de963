//! The connections of a run: with the reference client where messages have ids, and cheaply where they have none.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::message::Messages;
use super::tally::Tally;
use crate::bench::access::{Mint, Tokens};
use crate::bench::line::{Line, Target};
use crate::bench::ramp::Turn;
use crate::client::{Client, ClientConfig, DialError, Event, Next, Opened, Pause};
use crate::protocol::UserId;

/// Bounds of the waits of clients: shorter than what clients are told to do, so that a run shows the service's part.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// What all connections share.
pub(super) struct Run {
    pub(super) target: Target,
    /// Of the reference client, one for each source address.
    pub(super) configs: Vec<Arc<ClientConfig>>,
    pub(super) mint: Arc<Mint>,
    pub(super) messages: Arc<Messages>,
    pub(super) tally: Tally,
    pub(super) stop: CancellationToken,
}

/// The reference client's configurations for a target, one for each source address.
pub(super) fn configs(target: &Target) -> Vec<Arc<ClientConfig>> {
    let config = |source| ClientConfig {
        source,
        backoff_base: BACKOFF_BASE,
        backoff_cap: BACKOFF_CAP,
        steady: BACKOFF_CAP,
        silence: target.silence,
        ..ClientConfig::new(target.endpoint.clone())
    };
    (0..target.sources.len().max(1)).map(|turn| Arc::new(config(target.source(turn)))).collect()
}

/// One connection, again and again, until it is told not to come back or the run ends.
pub(super) async fn resuming(run: Arc<Run>, connection: usize, user: UserId, turn: Turn) {
    let config = Arc::clone(&run.configs[connection % run.configs.len()]);
    let mut client = Client::new(config, Tokens { mint: Arc::clone(&run.mint), user });
    let (mut open, mut repeated, mut turn) = (false, 0, turn);
    while let Some(Some(event)) = run.stop.run_until_cancelled(client.next()).await {
        match &event {
            Event::Message(message) => {
                run.tally.arrived(connection, run.messages.read(message.body.as_str().as_bytes()));
            }
            other => {
                run.tally.event(connection, other, &mut open);
                // The first of these is the outcome of the first attempt.
                turn = None;
            }
        }
        run.tally.repeated(client.repeated() - repeated);
        repeated = client.repeated();
    }
    drop(turn);
    run.tally.repeated(client.repeated() - repeated);
    let answered = client.close().await;
    if open {
        run.tally.left(answered);
    }
}

/// The same for a mode without ids.
pub(super) async fn plain(run: Arc<Run>, connection: usize, user: UserId, mut turn: Turn) {
    let mut pause = Pause::new(BACKOFF_BASE, BACKOFF_CAP);
    let mut open = false;
    while let Some(outcome) = run.stop.run_until_cancelled(run.target.open(connection, &user)).await {
        turn = None;
        let event = match outcome {
            Ok(line) => {
                run.tally.event(connection, &Event::Opened(Opened::default()), &mut open);
                match held(&run, connection, line, &mut pause).await {
                    Some(event) => event,
                    None => return,
                }
            }
            Err(DialError::Refused { status, retry_after, .. }) => {
                let again_in = wait(pause.refused(status, retry_after));
                Event::Refused { status, retry_after, again_in }
            }
            Err(DialError::Failed { kind, reason }) => {
                Event::Failed { kind, reason, again_in: wait(pause.failed()).unwrap_or_default() }
            }
        };
        run.tally.event(connection, &event, &mut open);
        let again_in = match event {
            Event::Closed { again_in, .. } | Event::Refused { again_in, .. } => again_in,
            Event::Failed { again_in, .. } => Some(again_in),
            _ => None,
        };
        let Some(again_in) = again_in else { return };
        if run.stop.run_until_cancelled(sleep(again_in)).await.is_none() {
            return;
        }
    }
    drop(turn);
}

/// Listens until the other side closes; none where the run ended before it.
async fn held(run: &Run, connection: usize, mut line: Line, pause: &mut Pause) -> Option<Event> {
    let opened = Instant::now();
    let arrived = |text: &[u8]| run.tally.arrived(connection, run.messages.read(text));
    let Some(code) = run.stop.run_until_cancelled(line.listen(arrived)).await else {
        run.tally.left(line.leave().await);
        return None;
    };
    // One that is closed at once, as for a bad token, proves nothing.
    if opened.elapsed() >= BACKOFF_CAP {
        pause.lived();
    }
    // Nobody waits for the rest of it.
    tokio::spawn(line.see_off(opened + Duration::from_secs(86_400)));
    Some(Event::Closed { code, reason: String::new(), again_in: wait(pause.closed(code, None)) })
}

fn wait(next: Next) -> Option<Duration> {
    match next {
        Next::After(wait) | Next::FreshTokenAfter(wait) => Some(wait),
        Next::Stop => None,
    }
}
