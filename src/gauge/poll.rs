//! Asking the service how many connections it holds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::flags::Identity;
use super::state::State;
use crate::fetch::FetchError;
use crate::protocol::{GAUGE_INTERVAL, PodGauge, PodStatus};
use crate::told::Told;

/// Between two questions once this process is to leave: how much longer than the service it stays.
const LEAVING_INTERVAL: Duration = Duration::from_millis(500);

/// Failures in a row after which a service that still takes connections counts as gone.
const GONE_AFTER: u32 = 3;

/// Asks again and again; each turn goes to the state and to `readings`, with none for a failure. Resolves once it is
/// `leaving` and the service is gone.
pub(super) async fn run(
    ask: impl AsyncFn() -> Result<PodStatus, FetchError>,
    identity: &Identity,
    state: &State,
    readings: &watch::Sender<Option<PodGauge>>,
    leaving: &CancellationToken,
) {
    let mut ticks = every(GAUGE_INTERVAL);
    let mut told = Told::default();
    let (mut ever, mut failures, mut hastens) = (false, 0, false);
    loop {
        tokio::select! {
            biased;
            () = leaving.cancelled(), if !hastens => {
                hastens = true;
                ticks = every(LEAVING_INTERVAL);
                continue;
            }
            _ = ticks.tick() => {}
        }
        let (asked, at) = (Instant::now(), milliseconds());
        match ask().await {
            Ok(status) => {
                if told.is_new::<FetchError>(Ok(())) {
                    info!(connections = status.connections, "the service tells its connections");
                }
                (ever, failures) = (true, 0);
                let gauge = gauge(identity, status, at);
                state.turned(Some((gauge.clone(), asked)));
                readings.send_replace(Some(gauge));
            }
            Err(error) => {
                failures += 1;
                state.turned(None);
                readings.send_replace(None);
                let unreachable = matches!(error, FetchError::Unreachable { .. });
                if hastens && (unreachable || failures >= GONE_AFTER) {
                    info!(%error, "the service is gone");
                    return;
                }
                if told.is_new(Err(&error)) {
                    // A sidecar starts before the service: that nobody listens yet is nothing to warn of.
                    if unreachable && !ever {
                        info!(%error, "waiting for the service");
                    } else {
                        warn!(%error, "the service does not tell its connections; nothing is reported");
                    }
                }
            }
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now(), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn gauge(identity: &Identity, status: PodStatus, at: u64) -> PodGauge {
    PodGauge {
        pod: identity.pod.clone(),
        namespace: identity.namespace.clone(),
        node: identity.node.clone(),
        connections: status.connections,
        limit: status.limit,
        draining: status.draining,
        revision: identity.revision.clone(),
        at,
        users: status.users,
        messages_sent: status.messages_sent,
        outbox_bytes: status.outbox_bytes,
        backplane: status.backplane,
        version: status.version,
        admin: identity.admin,
    }
}

/// Since 1970, by this machine's clock.
fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::gauge::flags::tests::identity;

    pub(in crate::gauge) fn reading(connections: u64) -> PodGauge {
        gauge(
            &identity(),
            PodStatus { connections, limit: 10_000, ..PodStatus::default() },
            1_700_000_000_000,
        )
    }

    /// Connections, or how the error is made.
    type Answer = Result<u64, fn() -> FetchError>;

    /// The service's answers in a row, the last one for ever; and when each was asked for.
    struct Script {
        answers: RefCell<Vec<Answer>>,
        asked: RefCell<Vec<Duration>>,
        start: Instant,
    }

    impl Script {
        fn new(answers: &[Answer]) -> Self {
            let answers = answers.iter().rev().copied().collect();
            Self { answers: RefCell::new(answers), asked: RefCell::default(), start: Instant::now() }
        }

        async fn ask(&self) -> Result<PodStatus, FetchError> {
            self.asked.borrow_mut().push(self.start.elapsed());
            let mut answers = self.answers.borrow_mut();
            let answer = if answers.len() > 1 { answers.pop() } else { answers.last().copied() };
            let connections = answer.expect("an answer").map_err(|error| error())?;
            Ok(PodStatus { connections, limit: 10, ..PodStatus::default() })
        }

        fn asked(&self) -> Vec<u128> {
            self.asked.borrow().iter().map(Duration::as_millis).collect()
        }
    }

    fn refused() -> FetchError {
        FetchError::Unreachable { url: "http://ws/status".to_owned(), reason: "refused".to_owned() }
    }

    fn late() -> FetchError {
        FetchError::Timeout { url: "http://ws/status".to_owned(), bound: Duration::from_secs(1) }
    }

    /// Runs the loop for so long, with the order to leave after `leave`; returns whether it ended by itself.
    async fn run_for(script: &Script, state: &State, leave: Duration, length: Duration) -> bool {
        let (readings, _latest) = watch::channel(None);
        let leaving = CancellationToken::new();
        let poll = async || script.ask().await;
        let identity = identity();
        let poll = run(poll, &identity, state, &readings, &leaving);
        let order = async {
            sleep(leave).await;
            leaving.cancel();
            std::future::pending::<()>().await;
        };
        let run = async {
            tokio::select! {
                () = poll => true,
                () = order => false,
            }
        };
        timeout(length, run).await.unwrap_or(false)
    }

    const NEVER: Duration = Duration::from_secs(86_400);

    #[tokio::test(start_paused = true)]
    async fn asks_every_two_seconds_whatever_the_answer() {
        let script = Script::new(&[Err(refused), Ok(3), Err(late), Ok(5)]);
        let state = State::new(&identity());
        assert!(!run_for(&script, &state, NEVER, Duration::from_secs(7)).await);
        assert_eq!(script.asked(), [0, 2_000, 4_000, 6_000]);
        assert_eq!(state.pod().map(|gauge| gauge.connections), Some(5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_reading_stands_until_it_is_too_old() {
        let script = Script::new(&[Ok(3), Err(refused)]);
        let state = State::new(&identity());
        run_for(&script, &state, NEVER, Duration::from_secs(15)).await;
        assert_eq!(state.pod().map(|gauge| gauge.connections), Some(3));
        assert!(state.exposition().contains("connection_gauge_status_up 0"));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(state.pod(), None);
        assert!(state.is_alive());
    }

    #[tokio::test(start_paused = true)]
    async fn leaves_with_the_service_and_not_before() {
        let script = Script::new(&[Ok(3), Ok(3), Ok(2), Err(late), Ok(1), Err(refused)]);
        let state = State::new(&identity());
        assert!(run_for(&script, &state, Duration::from_millis(2_100), NEVER).await);
        assert_eq!(script.asked(), [0, 2_000, 2_100, 2_600, 3_100, 3_600]);
    }

    #[tokio::test(start_paused = true)]
    async fn leaves_a_service_that_only_fails() {
        let script = Script::new(&[Ok(3), Err(late)]);
        let state = State::new(&identity());
        assert!(run_for(&script, &state, Duration::from_secs(1), NEVER).await);
        assert_eq!(script.asked(), [0, 1_000, 1_500, 2_000]);
    }
}
