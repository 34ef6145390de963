//! Publishing through Redis, over connections that are made anew whenever something is wrong with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{FromRedisValue, RedisError, cmd};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::publisher::{Failure, Outgoing};
use crate::backoff::Backoff;
use crate::backplane::redis::{Connector, Keyed, Keys, Tuning};
use crate::config::BackplaneConfig;

/// What `CLIENT LIST` shows while the command runs.
const CLIENT_NAME: &str = "websocket-bench";

/// For the wait for a connection, and for an answer. A connection that takes longer is made anew.
const BOUND: Duration = Duration::from_secs(5);

/// Bounds of the waits before connecting again: short, for the outage is what is measured.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(1);

/// The connections, and the publish script as it is known there.
#[derive(Clone)]
struct Up {
    keys: Keys,
    sha: Option<String>,
    /// Tells it from those before and after.
    number: u64,
}

/// Publishes, and says when the connection is no good any more.
pub(super) struct Link {
    prefix: String,
    connector: Connector,
    script: Option<String>,
    up: watch::Sender<Option<Up>>,
    made: AtomicU64,
}

impl Link {
    /// With a script messages get into history; without one they are published bare.
    ///
    /// # Errors
    /// When the URL is none.
    pub(super) fn new(config: &BackplaneConfig, script: Option<String>) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            prefix: config.channel_prefix.clone(),
            connector: Connector::new(config, CLIENT_NAME, &Tuning::default())?,
            script,
            up: watch::Sender::new(None),
            made: AtomicU64::new(0),
        }))
    }

    /// Keeps a connection, for ever.
    pub(super) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
        let mut state = self.up.subscribe();
        let keep = async {
            loop {
                let made = Instant::now();
                if let Ok(up) = self.connect().await {
                    self.up.send_replace(Some(up));
                    // The sender is here.
                    let _ = state.wait_for(Option::is_none).await;
                    if made.elapsed() > BACKOFF_CAP {
                        backoff.reset();
                    }
                }
                sleep(backoff.next_delay()).await;
            }
        };
        let _: Option<()> = stop.run_until_cancelled(keep).await;
    }

    async fn connect(&self) -> Result<Up, String> {
        let keys = self.connector.connect_for_keys().await.map_err(|error| error.to_string())?;
        let sha = match &self.script {
            None => None,
            Some(script) => {
                let mut load = cmd("SCRIPT");
                load.arg("LOAD").arg(script);
                let answer = answered(keys.everywhere(&load)).await?.pop();
                answer.map(String::from_redis_value).transpose().map_err(|error| error.to_string())?
            }
        };
        Ok(Up { keys, sha, number: self.made.fetch_add(1, Ordering::Relaxed) })
    }

    /// Publishes once.
    ///
    /// # Errors
    /// [`Failure::Unknown`] where a bare publication may have happened; otherwise [`Failure::Again`].
    pub(super) async fn publish(&self, message: &Outgoing<'_>) -> Result<(), Failure> {
        self.publish_all(std::slice::from_ref(message)).await
    }

    /// Publishes several with one write.
    ///
    /// # Errors
    /// As for [`Link::publish`], for all of them.
    pub(super) async fn publish_all(&self, messages: &[Outgoing<'_>]) -> Result<(), Failure> {
        let up = self.up().await?;
        let commands = messages.iter().map(|message| self.command(up.sha.as_deref(), message)).collect();
        let asked = timeout(BOUND, up.keys.each(commands)).await;
        self.judge(&up, asked.map(|answers| answers.map(drop)))
    }

    async fn up(&self) -> Result<Up, Failure> {
        let mut state = self.up.subscribe();
        let found = timeout(BOUND, state.wait_for(Option::is_some)).await;
        let up = found.ok().and_then(|found| found.ok()?.clone());
        up.ok_or_else(|| Failure::Again("no connection to Redis".to_owned()))
    }

    fn judge(&self, up: &Up, asked: Result<Result<(), RedisError>, Elapsed>) -> Result<(), Failure> {
        let failure = match asked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => self.failure(&error),
            Err(_) => self.unanswered(format!("Redis did not answer within {BOUND:?}")),
        };
        // Also after an answer that refuses: another server may be behind the name by now, or the script is gone.
        self.up.send_if_modified(|current| current.take_if(|current| current.number == up.number).is_some());
        Err(failure)
    }

    fn command(&self, sha: Option<&str>, message: &Outgoing<'_>) -> Keyed {
        let channel = format!("{}{}", self.prefix, message.user);
        match sha {
            None => {
                let mut publish = cmd("PUBLISH");
                publish.arg(&channel).arg(message.text);
                (channel, publish)
            }
            Some(sha) => {
                let mut publish = cmd("EVALSHA");
                publish.arg(sha).arg(1).arg(&channel).arg(message.text).arg(message.key).arg("");
                (channel, publish)
            }
        }
    }

    fn failure(&self, error: &RedisError) -> Failure {
        // A code is the server's: it answered, so nothing was done.
        match error.code() {
            Some(_) => Failure::Again(error.to_string()),
            None => self.unanswered(error.to_string()),
        }
    }

    fn unanswered(&self, reason: String) -> Failure {
        match self.script {
            Some(_) => Failure::Again(reason),
            None => Failure::Unknown(reason),
        }
    }
}

async fn answered<T>(answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match timeout(BOUND, answer).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {BOUND:?}")),
    }
}
