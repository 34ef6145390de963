//! A token bucket in two numbers, small enough for one in every connection.
//!
//! Not the `governor` crate: its clock does not follow tokio's paused time, and its state is larger than a session may
//! spend on it.

use tokio::time::Instant;

/// Allows `rate` events a second, and a burst when nothing happened for a while. Starts full.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    tokens: f32,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn full(burst: u32, now: Instant) -> Self {
        Self { tokens: burst as f32, at: now }
    }

    /// Takes one token, if one is there.
    pub fn take(&mut self, rate: u32, burst: u32, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f32() * rate as f32;
        self.tokens = (self.tokens + earned).min(burst as f32);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn allows_a_burst_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(4, start);
        let taken = (0..10).filter(|_| bucket.take(2, 4, start)).count();
        assert_eq!(taken, 4);
        let later = start + Duration::from_secs(1);
        let taken = (0..10).filter(|_| bucket.take(2, 4, later)).count();
        assert_eq!(taken, 2);
        let idle = start + Duration::from_secs(3600);
        let taken = (0..10).filter(|_| bucket.take(2, 4, idle)).count();
        assert_eq!(taken, 4);
    }
}
