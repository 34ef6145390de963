//! A fleet as its operator sees it from outside: its pods by their reports in Redis, or each by its `/status`.
//!
//! `reports` and `status` read; `watch` makes of two readings what one alone does not tell, messages a second; `view`
//! is what is shown, pod by `pod`.

mod pod;
mod reports;
mod status;
mod view;
mod watch;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::redis::RedisError;

use crate::backplane::redis::ConnectError;
use crate::protocol::PodGauge;

pub use pod::{Pod, State};
pub use reports::Reports;
pub use status::Pods;
pub use view::{Order, Total, View};
pub use watch::Watch;

/// Where a fleet is read.
#[derive(Debug)]
pub enum Source {
    /// What its pods report to Redis.
    Redis(Reports),
    /// What certain pods answer.
    Pods(Pods),
}

impl Source {
    /// Reads all pods once. Takes 7 s at most.
    ///
    /// # Errors
    /// When Redis does not answer, or not one of the pods does.
    pub async fn read(&mut self) -> Result<Reading, ReadError> {
        match self {
            Self::Redis(reports) => reports.read().await,
            Self::Pods(pods) => pods.read().await,
        }
    }
}

/// What was heard of the pods at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When, in milliseconds since 1970, by this machine's clock.
    pub at: u64,
    /// The pods, in no order.
    pub pods: Vec<Heard>,
}

/// What was heard of one pod.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Tells it from the others: its UID in Redis, or the URL that was asked.
    pub key: String,
    /// What it says.
    pub word: Word,
}

/// What a pod says, or that it says nothing.
#[derive(Debug, Clone)]
pub enum Word {
    /// How it stands.
    Report(Box<PodGauge>),
    /// Its report is gone, without having been taken back: it was killed, or does not reach Redis.
    Expired {
        /// When it reported last, in milliseconds since 1970, by its own clock.
        at: u64,
    },
    /// It was asked, and this is why there is no answer.
    Silent(String),
}

/// Why nothing could be read. The texts hold neither the URL of Redis nor a password.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no connection to Redis. The reason is in the text, and no source, or it would be told twice.
    #[error("cannot connect to Redis: {0}")]
    Connect(ConnectError),
    /// Redis did not answer within the bound.
    #[error("Redis did not answer within {0:?}")]
    Timeout(Duration),
    /// Refused by the network or by Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Not one of the pods that were asked answers; what became of each.
    #[error("{0}")]
    Silent(String),
}

impl From<ConnectError> for ReadError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once() {
        let gone = ConnectError::Network(std::io::Error::other("the network is gone"));
        let told = anyhow::Error::from(ReadError::from(gone));
        assert_eq!(format!("{told:#}"), "cannot connect to Redis: the network is gone");
    }
}
