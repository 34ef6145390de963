//! Reading the pods' reports from Redis.

use std::time::Duration;

use ::redis::RedisError;
use tokio::time::{Instant, timeout};

use super::metrics::ControlMetrics;
use crate::backoff::Backoff;
use crate::backplane::redis::{ConnectError, Connector, Keys};
use crate::config::{RedisReach, Secret};
use crate::protocol::{PodGauge, gauge_key};
use crate::told::Told;

/// For name look-up, TCP, TLS and login together; as long as a round, for a slow one is only made up for by the pods'
/// own gauges.
const CONNECT: Duration = Duration::from_secs(2);
/// For all reports of a fleet: one round trip.
const READ: Duration = Duration::from_secs(1);
/// What `CLIENT LIST` shows.
const CLIENT_NAME: &str = "metrics-adapter";
/// Bounds of the delays between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Why nothing could be read. Safe to log: the texts hold neither URL nor password.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Not within the bound.
    #[error("Redis did not answer within {0:?}")]
    Timeout(Duration),
    /// Refused by the network or by the server.
    #[error("{0}")]
    Redis(#[from] RedisError),
}

/// Connections that are made again when they are needed, with growing delays, each time from the URL as it is then.
pub struct RedisReports {
    connector: Connector,
    keys: Option<Keys>,
    backoff: Backoff,
    /// Not before this is it tried again.
    rest: Option<Instant>,
    told: Told,
    metrics: ControlMetrics,
}

impl std::fmt::Debug for RedisReports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisReports").field("connected", &self.keys.is_some()).finish_non_exhaustive()
    }
}

impl RedisReports {
    /// Not connected yet.
    #[must_use]
    pub fn new(url: Secret, reach: &RedisReach, metrics: ControlMetrics) -> Self {
        let backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let connector = Connector::to(url, reach, CLIENT_NAME, CONNECT);
        Self { connector, keys: None, backoff, rest: None, told: Told::working(), metrics }
    }

    /// The reports of these pods, in their order; `None` while Redis is away. Takes 3 s at most.
    pub async fn read(&mut self, uids: &[&str]) -> Option<Vec<Option<PodGauge>>> {
        if self.rest.is_some_and(|rest| Instant::now() < rest) {
            return None;
        }
        match self.try_read(uids).await {
            Ok(reports) => {
                if self.told.is_new::<ReadError>(Ok(())) {
                    tracing::info!("the pods' reports are read from Redis again");
                }
                self.backoff.reset();
                self.rest = None;
                self.metrics.redis_up.set(1);
                Some(reports)
            }
            Err(error) => {
                self.keys = None;
                self.rest = Some(Instant::now() + self.backoff.next_delay());
                self.metrics.redis_up.set(0);
                if self.told.is_new(Err(&error)) {
                    tracing::warn!(%error, "cannot read the pods' reports from Redis; asking the pods");
                }
                None
            }
        }
    }

    async fn try_read(&mut self, uids: &[&str]) -> Result<Vec<Option<PodGauge>>, ReadError> {
        let keys = match &self.keys {
            Some(keys) => keys.clone(),
            None => {
                let made = self.connector.connect_for_keys().await?;
                self.keys.insert(made).clone()
            }
        };
        let read = timeout(READ, keys.get_all(uids.iter().map(|uid| gauge_key(uid))));
        let values = read.await.map_err(|_| ReadError::Timeout(READ))??;
        Ok(values.into_iter().map(|value| parse(&value?)).collect())
    }
}

fn parse(json: &[u8]) -> Option<PodGauge> {
    match serde_json::from_slice(json) {
        Ok(gauge) => Some(gauge),
        Err(error) => {
            tracing::debug!(%error, "a report in Redis is none; asking the pod");
            None
        }
    }
}
