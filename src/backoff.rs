//! How long to wait before trying again.

use std::time::Duration;

/// Delays that grow from attempt to attempt, each drawn anew from the whole range up to its bound ("full jitter"), so
/// that clients which lost the same server do not come back in step.
///
/// A plain value: whoever holds it sleeps.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    /// Delays of at most `base` at first, of at most twice as much with each attempt, and never more than `cap`.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, attempt: 0 }
    }

    /// The next delay; counts an attempt.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.bound();
        self.attempt = self.attempt.saturating_add(1);
        bound.mul_f64(rand::random_range(0.0..=1.0))
    }

    /// The longest that the next delay can be.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.base.saturating_mul(1u32.checked_shl(self.attempt).unwrap_or(u32::MAX)).min(self.cap)
    }

    /// Delays given since the start or the last [`Backoff::reset`].
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Starts again from `base`: what was tried has worked.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(5);

    #[test]
    fn grows_to_the_cap_and_stays_there() {
        let mut backoff = Backoff::new(BASE, CAP);
        let bounds: Vec<u128> = (0..8)
            .map(|_| {
                let bound = backoff.bound();
                assert!(backoff.next_delay() <= bound);
                bound.as_millis()
            })
            .collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        for _ in 0..1_000 {
            assert!(backoff.next_delay() <= CAP, "after attempt {}", backoff.attempt());
        }
        backoff.reset();
        assert_eq!((backoff.attempt(), backoff.bound()), (0, BASE));
    }

    #[test]
    fn uses_the_whole_range() {
        let mut delays = Vec::new();
        for _ in 0..1_000 {
            delays.push(Backoff::new(CAP, CAP).next_delay());
        }
        // One in 10^45 that a fair draw of 1,000 misses a tenth of the range.
        assert!(delays.iter().any(|delay| *delay < CAP / 10), "never short");
        assert!(delays.iter().any(|delay| *delay > CAP * 9 / 10), "never long");
    }
}
