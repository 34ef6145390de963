use std::fmt;
use std::time::Duration;

use ::redis::{FromRedisValue, RedisError, Value, cmd};
use tokio::time::timeout;

use super::{Heard, ReadError, Reading, Word, now};
use crate::backplane::redis::{Connector, Keys, StartError, Tuning};
use crate::config::BackplaneConfig;
use crate::protocol::{PodGauge, fleet_key, gauge_key};

/// What `CLIENT LIST` shows.
const CLIENT_NAME: &str = "websocket-service-cli";
/// For all reports of a fleet: two round trips.
const READ: Duration = Duration::from_secs(2);
/// Most pods that are read, the latest to report. Beyond what a cluster runs; bounds the memory of an answer.
const MAX_PODS: isize = 10_000;

/// The reports of a fleet in Redis, over connections that are made again when they are needed.
pub struct Reports {
    connector: Connector,
    keys: Option<Keys>,
    name: String,
    index: String,
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Reports {
    /// The fleet of this name, a Deployment's, in a namespace. Not connected yet.
    ///
    /// # Errors
    /// [`StartError`] when there is no `REDIS_URL`, or one that does not parse.
    pub fn new(config: &BackplaneConfig, namespace: &str, fleet: &str) -> Result<Self, StartError> {
        let connector = Connector::new(config, CLIENT_NAME, &Tuning::default())?;
        let index = fleet_key(namespace, fleet);
        Ok(Self { connector, keys: None, name: format!("{namespace}/{fleet}"), index })
    }

    /// The fleet's name, as NAMESPACE/FLEET.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the index and the reports. Takes 7 s at most.
    ///
    /// # Errors
    /// When Redis cannot be reached, refuses or does not answer in time; it is connected anew then.
    pub async fn read(&mut self) -> Result<Reading, ReadError> {
        let outcome = self.try_read().await;
        if outcome.is_err() {
            self.keys = None;
        }
        outcome
    }

    async fn try_read(&mut self) -> Result<Reading, ReadError> {
        let keys = match &self.keys {
            Some(keys) => keys.clone(),
            None => {
                let made = self.connector.connect_for_keys().await?;
                self.keys.insert(made).clone()
            }
        };
        timeout(READ, self.exchange(&keys)).await.map_err(|_| ReadError::Timeout(READ))?
    }

    async fn exchange(&self, keys: &Keys) -> Result<Reading, ReadError> {
        let mut index = cmd("ZRANGE");
        index.arg(&self.index).arg(-MAX_PODS).arg(-1).arg("WITHSCORES");
        let pods = keys.each(vec![(self.index.clone(), index)]).await?.pop().unwrap_or(Value::Nil);
        let pods = Vec::<(String, f64)>::from_redis_value(pods).map_err(RedisError::from)?;
        let reports = keys.get_all(pods.iter().map(|(uid, _)| gauge_key(uid))).await?;
        let at = now();
        let pods = pods.into_iter().zip(reports).map(|((uid, score), report)| Heard {
            key: uid,
            word: match report.and_then(|json| serde_json::from_slice::<PodGauge>(&json).ok()) {
                Some(gauge) => Word::Report(Box::new(gauge)),
                // Scores are whole milliseconds, far below what a double holds exactly.
                None => Word::Expired { at: score.max(0.0) as u64 },
            },
        });
        Ok(Reading { at, pods: pods.collect() })
    }
}
