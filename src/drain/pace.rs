use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::time::Instant;

/// Longest pause between two closes: a handful of clients is no storm, and need not take the whole spread.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Share of a pause by which each close is early or late, at random, so that pods that drain together do not beat.
const JITTER: f64 = 0.5;

/// The moments at which a drain closes its connections: a steady rate with jitter that does not add up.
#[derive(Debug)]
pub(super) struct Pace {
    /// The moment without jitter.
    slot: Instant,
    pause: Duration,
}

impl Pace {
    pub(super) fn new(connections: usize, spread: Duration) -> Self {
        let share = u32::try_from(connections.max(1)).unwrap_or(u32::MAX);
        Self { slot: Instant::now(), pause: (spread / share).min(LONGEST_PAUSE) }
    }

    #[expect(clippy::unused_self, reason = "the order is part of the pace")]
    pub(super) fn shuffle<T>(&self, mut items: Vec<T>) -> Vec<T> {
        items.shuffle(&mut rand::rng());
        items
    }

    /// When the next one is due. A late caller is not held back: moments in the past catch up.
    pub(super) fn next(&mut self) -> Instant {
        let due = self.slot + self.pause.mul_f64(rand::random_range(0.0..=2.0 * JITTER));
        self.slot += self.pause;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn spreads_evenly_with_jitter() {
        let start = Instant::now();
        let spread = Duration::from_secs(60);
        let mut pace = Pace::new(600, spread);
        let due: Vec<_> = (0..600).map(|_| pace.next() - start).collect();
        for (second, window) in due.chunks(100).enumerate() {
            let from = Duration::from_secs(10 * second as u64);
            assert!(window.iter().all(|at| *at >= from && *at <= from + Duration::from_millis(10_100)));
        }
        assert!(due.iter().all(|at| *at <= spread));
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_do_not_take_the_whole_spread() {
        let start = Instant::now();
        let mut pace = Pace::new(3, Duration::from_secs(60));
        let last = (0..3).map(|_| pace.next()).last().expect("three");
        assert!(last - start <= 3 * LONGEST_PAUSE);
    }
}
