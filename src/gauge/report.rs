//! Telling the fleet, and hearing what the others tell.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, RedisError, Value, cmd};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::flags::Identity;
use super::state::State;
use crate::backoff::Backoff;
use crate::backplane::redis::{ConnectError, Connector, Keyed, Keys};
use crate::metrics::Report;
use crate::protocol::{GAUGE_EXPIRY, PodGauge, fleet_key, gauge_key};
use crate::told::Told;

/// For one turn's commands, and for the goodbye. A connection that takes longer is made anew.
pub(super) const BOUND: Duration = Duration::from_secs(1);

/// How long an index that nobody writes stays, and an entry whose pod has stopped reporting. Longer than a report, which
/// expires by Redis' own clock: a pod with a clock that is some seconds off is not to be thrown out by the others.
const INDEX_EXPIRY: Duration = Duration::from_secs(60);

/// Most pods that are summed up, the latest to report. Beyond what a cluster runs; bounds the memory of an answer.
const MAX_PODS: isize = 10_000;

/// Bound of the first delay after a failure: the next report is tried.
const BACKOFF_BASE: Duration = Duration::from_millis(500);
/// Bound of all delays. With the interval and the bounds it stays below the expiry, so that an outage that ends is not
/// followed by a gap.
const BACKOFF_CAP: Duration = Duration::from_secs(5);

/// Why a turn failed. Safe to log.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("no answer within {BOUND:?}")]
    Timeout,
    #[error("{0}")]
    Redis(#[from] RedisError),
}

/// The task that talks to Redis, and its connections: one, or one to each master of a cluster.
#[derive(Debug)]
pub(super) struct Reporter {
    connector: Connector,
    keys: Option<Keys>,
    key: String,
    index: String,
    uid: String,
    state: Arc<State>,
}

impl Reporter {
    pub(super) fn new(connector: Connector, identity: &Identity, state: Arc<State>) -> Self {
        Self {
            connector,
            keys: None,
            key: gauge_key(&identity.uid),
            index: fleet_key(&identity.namespace, &identity.fleet),
            uid: identity.uid.clone(),
            state,
        }
    }

    /// Passes on each reading, or the latest where Redis is slower, until `gone`; then takes the report back.
    pub(super) async fn run(mut self, latest: watch::Receiver<Option<PodGauge>>, gone: CancellationToken) {
        gone.run_until_cancelled(self.pass_on(latest)).await;
        match timeout(BOUND, self.take_back()).await {
            Ok(Ok(())) => info!("the report is taken back"),
            Ok(Err(error)) => info!(%error, "the report is left to expire"),
            Err(_) => info!(error = %ReportError::Timeout, "the report is left to expire"),
        }
    }

    async fn pass_on(&mut self, mut latest: watch::Receiver<Option<PodGauge>>) {
        let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
        let mut told = Told::default();
        while latest.changed().await.is_ok() {
            let reading = latest.borrow_and_update().clone();
            let outcome = self.turn(reading.as_ref()).await;
            if reading.is_some() {
                self.state.reported(if outcome.is_ok() { Report::Ok } else { Report::Failed });
            }
            match outcome {
                Ok(fleet) => {
                    self.state.redis_up(fleet);
                    backoff.reset();
                    if told.is_new::<ReportError>(Ok(())) {
                        info!("Redis takes reports");
                    }
                }
                Err(error) => {
                    self.state.redis_down();
                    // Also after an answer that refuses: another server may be behind the name by now.
                    self.keys = None;
                    if told.is_new(Err(&error)) {
                        warn!(%error, "Redis takes no reports; it is tried again");
                    }
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// One report, where there is one, and the fleet's sum after it; no sum where nobody reports.
    async fn turn(&mut self, reading: Option<&PodGauge>) -> Result<Option<u64>, ReportError> {
        let keys = self.connected().await?;
        timeout(BOUND, self.exchange(keys, reading)).await.map_err(|_| ReportError::Timeout)?
    }

    async fn connected(&mut self) -> Result<Keys, ReportError> {
        if let Some(keys) = &self.keys {
            return Ok(keys.clone());
        }
        let keys = self.connector.connect_for_keys().await?;
        Ok(self.keys.insert(keys).clone())
    }

    async fn exchange(&self, keys: Keys, reading: Option<&PodGauge>) -> Result<Option<u64>, ReportError> {
        let mut commands = Vec::new();
        if let Some(gauge) = reading {
            // Plain fields: it cannot fail.
            let json = serde_json::to_string(gauge).unwrap_or_default();
            let stale = gauge.at.saturating_sub(milliseconds(INDEX_EXPIRY));
            let (lifetime, kept) = (milliseconds(GAUGE_EXPIRY), milliseconds(INDEX_EXPIRY));
            commands.push(on(&self.key, "SET", |set| set.arg(json).arg("PX").arg(lifetime)));
            commands.push(on(&self.index, "ZADD", |add| add.arg(gauge.at).arg(&self.uid)));
            commands
                .push(on(&self.index, "ZREMRANGEBYSCORE", |rest| rest.arg("-inf").arg(format!("({stale}"))));
            commands.push(on(&self.index, "PEXPIRE", |keep| keep.arg(kept)));
        }
        commands.push(on(&self.index, "ZRANGE", |all| all.arg(-MAX_PODS).arg(-1)));
        let uids = keys.each(commands).await?.pop().unwrap_or(Value::Nil);
        let uids = Vec::<String>::from_redis_value(uids).map_err(RedisError::from)?;
        if uids.is_empty() {
            return Ok(None);
        }
        let reports = keys.get_all(uids.iter().map(|uid| gauge_key(uid))).await?;
        Ok(sum(reports.iter().flatten()))
    }

    /// Best effort: what is not taken back expires.
    async fn take_back(&mut self) -> Result<(), ReportError> {
        let keys = self.connected().await?;
        let del = on(&self.key, "DEL", |del| del);
        let rem = on(&self.index, "ZREM", |rem| rem.arg(&self.uid));
        keys.each(vec![del, rem]).await?;
        Ok(())
    }
}

/// A command on a key, with more arguments.
fn on(key: &str, name: &str, more: impl FnOnce(&mut Cmd) -> &mut Cmd) -> Keyed {
    let mut command = cmd(name);
    more(command.arg(key));
    (key.to_owned(), command)
}

/// The connections of all reports; none where there is no report.
fn sum<'a>(reports: impl Iterator<Item = &'a Vec<u8>>) -> Option<u64> {
    reports.fold(None, |sum: Option<u64>, report| match serde_json::from_slice::<PodGauge>(report) {
        Ok(gauge) => Some(sum.unwrap_or(0).saturating_add(gauge.connections)),
        Err(error) => {
            debug!(%error, "a report of the fleet is none");
            sum
        }
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gauge::poll::tests::reading;

    #[test]
    fn the_sum_passes_over_what_is_no_report() {
        let json = |connections| serde_json::to_vec(&reading(connections)).expect("JSON");
        assert_eq!(sum([json(3), b"{}".to_vec(), json(4)].iter()), Some(7));
        assert_eq!(sum([json(0)].iter()), Some(0));
        assert_eq!(sum([b"junk".to_vec()].iter()), None);
        assert_eq!(sum([json(u64::MAX), json(1)].iter()), Some(u64::MAX));
    }
}
