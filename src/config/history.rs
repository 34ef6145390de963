use std::time::Duration;

use super::table;
use super::values::Values;

/// What is kept of each user's messages, so that clients can resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Messages of each user (`HISTORY_SIZE`); 0 is no history.
    pub size: usize,
    /// How long after a user's last message or connection they are kept (`HISTORY_TTL_SECONDS`).
    pub ttl: Duration,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { size: 100, ttl: Duration::from_secs(3600) }
    }
}

impl HistoryConfig {
    /// Whether there is history at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.size > 0
    }

    pub(super) fn read(values: &mut Values) -> Self {
        let default = Self::default();
        Self {
            size: values.number(&table::HISTORY_SIZE).unwrap_or(default.size),
            ttl: values.seconds(&table::HISTORY_TTL_SECONDS).unwrap_or(default.ttl),
        }
    }
}
