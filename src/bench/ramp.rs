//! The pace at which connections are opened.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, interval};

/// Handshakes at once where nothing is said.
const PARALLEL: u32 = 64;

/// How fast to open.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
#[group(required = false, multiple = false)]
pub(super) struct RampArgs {
    /// New connections a second at the start; reconnects are not held back
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Without --rate: so many handshakes at once, as fast as they are answered; 64 unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    parallel: Option<u32>,
}

/// Gives connections their turn.
#[derive(Debug)]
pub(super) enum Ramp {
    Rate(Interval),
    Parallel(Arc<Semaphore>),
}

/// A connection's turn to open; the next has it when this is dropped.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

impl RampArgs {
    /// Starts it: the first turn comes at once.
    pub(super) fn start(self) -> Ramp {
        match self.rate {
            // A tick that came late is made up for, so the rate holds.
            Some(rate) => Ramp::Rate(interval(Duration::from_secs(1) / rate)),
            None => Ramp::Parallel(Arc::new(Semaphore::new(self.parallel.unwrap_or(PARALLEL) as usize))),
        }
    }

    /// Bound of the whole start of so many connections.
    pub(super) fn bound(self, connections: usize) -> Duration {
        // Slower than any service that is worth a measurement.
        let rate = self.rate.unwrap_or(100);
        let at_rate = u64::try_from(connections).unwrap_or(u64::MAX) / u64::from(rate);
        Duration::from_secs(at_rate.saturating_add(30))
    }
}

impl Ramp {
    /// Waits for the next turn. Nothing is lost when this is cancelled.
    pub(super) async fn turn(&mut self) -> Turn {
        match self {
            Self::Rate(interval) => {
                interval.tick().await;
                None
            }
            // Never closed.
            Self::Parallel(semaphore) => Arc::clone(semaphore).acquire_owned().await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_the_rate_or_when_another_is_over() {
        let mut ramp = RampArgs { rate: Some(10), parallel: None }.start();
        let start = Instant::now();
        for _ in 0..11 {
            ramp.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        let mut ramp = RampArgs { rate: None, parallel: Some(2) }.start();
        let (one, _two) = (ramp.turn().await, ramp.turn().await);
        assert!(timeout(Duration::from_secs(60), ramp.turn()).await.is_err());
        drop(one);
        assert!(timeout(Duration::from_secs(60), ramp.turn()).await.is_ok());
    }
}
