//! A token bucket in two numbers, small enough for one in every connection, and a bounded number of them by key.
//!
//! Not the `governor` crate: its clock does not follow tokio's paused time, and its state is larger than a session may
//! spend on it.

use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;
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
        self.earn(rate as f32, burst, now);
        let there = self.has_one();
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    fn earn(&mut self, rate: f32, burst: u32, now: Instant) {
        let earned = now.saturating_duration_since(self.at).as_secs_f32() * rate;
        self.tokens = (self.tokens + earned).min(burst as f32);
        self.at = now;
    }

    fn has_one(&self) -> bool {
        self.tokens >= 1.0
    }
}

/// Events that each key may have a minute, with bursts of as many. Where there are more keys than it remembers, the one that
/// was longest not seen begins anew.
#[derive(Debug)]
pub struct Budget<K: Hash + Eq> {
    per_minute: u32,
    spent: Mutex<LruCache<K, TokenBucket>>,
}

impl<K: Hash + Eq> Budget<K> {
    /// Nothing spent; remembers at most so many keys.
    #[must_use]
    pub fn new(per_minute: u32, keys: NonZeroUsize) -> Self {
        Self { per_minute, spent: Mutex::new(LruCache::new(keys)) }
    }

    /// Whether the key has nothing left.
    pub fn is_spent(&self, key: &K, now: Instant) -> bool {
        self.spent.lock().get_mut(key).is_some_and(|bucket| {
            bucket.earn(self.rate(), self.per_minute, now);
            !bucket.has_one()
        })
    }

    /// Spends one of the key's, if one is left.
    pub fn spend(&self, key: K, now: Instant) -> bool {
        let mut spent = self.spent.lock();
        let bucket = spent.get_or_insert_mut(key, || TokenBucket::full(self.per_minute, now));
        bucket.earn(self.rate(), self.per_minute, now);
        let left = bucket.has_one();
        if left {
            bucket.tokens -= 1.0;
        }
        left
    }

    fn rate(&self) -> f32 {
        self.per_minute as f32 / 60.0
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

    #[tokio::test(start_paused = true)]
    async fn each_key_has_its_budget() {
        let start = Instant::now();
        let budget = Budget::new(6, NonZeroUsize::MIN.saturating_add(1));
        assert!(!budget.is_spent(&"a", start), "one that was never seen has all of it");
        assert_eq!((0..10).filter(|_| budget.spend("a", start)).count(), 6);
        assert!(budget.is_spent(&"a", start));
        assert!(budget.spend("b", start), "another's is its own");
        let later = start + Duration::from_secs(20);
        assert!(!budget.is_spent(&"a", later));
        assert_eq!((0..10).filter(|_| budget.spend("a", later)).count(), 2);
        assert!(budget.spend("b", later) && budget.spend("c", later));
        assert!(!budget.is_spent(&"a", later), "forgotten for two that were seen since");
    }
}
