//! Telling the fleet, and hearing what the others tell.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisError, cmd, pipe};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::flags::Identity;
use super::state::State;
use crate::backoff::Backoff;
use crate::backplane::redis::{ConnectError, Connector};
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

/// The task that talks to Redis, and its one connection.
#[derive(Debug)]
pub(super) struct Reporter {
    connector: Connector,
    connection: Option<MultiplexedConnection>,
    key: String,
    index: String,
    uid: String,
    state: Arc<State>,
}

impl Reporter {
    pub(super) fn new(connector: Connector, identity: &Identity, state: Arc<State>) -> Self {
        Self {
            connector,
            connection: None,
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
                    self.connection = None;
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
        let connection = self.connected().await?;
        timeout(BOUND, self.exchange(connection, reading)).await.map_err(|_| ReportError::Timeout)?
    }

    async fn connected(&mut self) -> Result<MultiplexedConnection, ReportError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let connection = self.connector.connect_for_commands().await?;
        Ok(self.connection.insert(connection).clone())
    }

    async fn exchange(
        &self,
        mut connection: MultiplexedConnection,
        reading: Option<&PodGauge>,
    ) -> Result<Option<u64>, ReportError> {
        let mut commands = pipe();
        if let Some(gauge) = reading {
            // Plain fields: it cannot fail.
            let json = serde_json::to_string(gauge).unwrap_or_default();
            let stale = gauge.at.saturating_sub(milliseconds(INDEX_EXPIRY));
            commands.cmd("SET").arg(&self.key).arg(json).arg("PX").arg(milliseconds(GAUGE_EXPIRY)).ignore();
            commands.cmd("ZADD").arg(&self.index).arg(gauge.at).arg(&self.uid).ignore();
            commands.cmd("ZREMRANGEBYSCORE").arg(&self.index).arg("-inf").arg(format!("({stale}")).ignore();
            commands.cmd("PEXPIRE").arg(&self.index).arg(milliseconds(INDEX_EXPIRY)).ignore();
        }
        commands.cmd("ZRANGE").arg(&self.index).arg(-MAX_PODS).arg(-1);
        let (uids,): (Vec<String>,) = commands.query_async(&mut connection).await?;
        if uids.is_empty() {
            return Ok(None);
        }
        let mut commands = pipe();
        for uid in &uids {
            commands.cmd("GET").arg(gauge_key(uid));
        }
        let reports: Vec<Option<Vec<u8>>> = commands.query_async(&mut connection).await?;
        Ok(sum(reports.iter().flatten()))
    }

    /// Best effort: what is not taken back expires.
    async fn take_back(&mut self) -> Result<(), ReportError> {
        let mut connection = self.connected().await?;
        let mut commands = pipe();
        commands.add_command(cmd("DEL").arg(&self.key).clone()).ignore();
        commands.add_command(cmd("ZREM").arg(&self.index).arg(&self.uid).clone()).ignore();
        Ok(commands.exec_async(&mut connection).await?)
    }
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
