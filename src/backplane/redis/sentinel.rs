//! Asking sentinels for the master, and believing the one that knows of the latest failover.

use std::collections::HashMap;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, ConnectionAddr, RedisConnectionInfo, RedisError, RedisResult as Answer, pipe,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::dial::dial;
use super::errors::{ConnectError, is_io};
use crate::config::{HostPort, RedisTlsConfig, SentinelConfig};
use crate::told::Told;

/// For one sentinel to answer, connecting included. The sidecar has a second for all of its way to Redis.
const ANSWER: Duration = Duration::from_millis(800);
/// For the others, once most have answered: one whose node is gone does not hold up the way to the new master.
const GRACE: Duration = Duration::from_millis(200);
/// Between two questions while a connection lasts: how long a failover goes unnoticed that closed no connection.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Answers of a sentinel, each of which may be an error.
type State = Answer<HashMap<String, String>>;
type Address = Answer<Option<(String, u16)>>;

/// Why no master is known. Safe to log.
#[derive(Debug, thiserror::Error)]
pub enum SentinelError {
    /// None answered.
    #[error("no sentinel of REDIS_SENTINELS answers; {at}: {reason}")]
    Silent {
        /// One of them.
        at: HostPort,
        /// What became of the question.
        reason: String,
    },
    /// They do not watch a master of this name.
    #[error(
        "the sentinels know no master called {0:?}: set REDIS_SENTINEL_MASTER to the name in their `sentinel monitor` line"
    )]
    Unknown(String),
    /// Fewer than half answered, and what they know is from before the last failover.
    #[error("{answered} of {all} sentinels answer, and know nothing of the last failover")]
    Stale {
        /// How many answered.
        answered: usize,
        /// How many there are.
        all: usize,
    },
}

/// The master, and the number of the failover that made it one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) at: HostPort,
    pub(super) epoch: u64,
}

/// How the sentinels are spoken to: as Redis itself is.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// For TLS; none is plain TCP.
    pub(super) tls: Option<RedisTlsConfig>,
}

impl Manner {
    pub(super) fn address(&self, at: &HostPort) -> ConnectionAddr {
        let HostPort { host, port } = at.clone();
        match self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        }
    }
}

/// The sentinels, and what they were last believed. Shared by all connections that follow the same master, so that all
/// leave the old one together.
#[derive(Debug)]
pub(super) struct Sentinels {
    config: SentinelConfig,
    /// A connection to each, kept from question to question.
    lines: Vec<Mutex<Option<MultiplexedConnection>>>,
    believed: watch::Sender<Option<Master>>,
    told: Mutex<Told>,
}

impl Sentinels {
    pub(super) fn new(config: SentinelConfig) -> Self {
        let lines = config.servers.iter().map(|_| Mutex::default()).collect();
        Self { config, lines, believed: watch::Sender::new(None), told: Mutex::new(Told::working()) }
    }

    /// Asks all of them at once.
    pub(super) async fn find(&self, manner: &Manner) -> Result<Master, SentinelError> {
        let before = self.believed.borrow().clone();
        let most = self.lines.len() / 2 + 1;
        let mut asks: FuturesUnordered<_> =
            (0..self.lines.len()).map(|place| self.ask(place, manner)).collect();
        let (mut answers, mut unknown, mut silent) = (Vec::new(), false, None);
        let mut deadline = Instant::now() + ANSWER + GRACE;
        while let Ok(Some(answer)) = timeout_at(deadline, asks.next()).await {
            match answer {
                Ok(Some(master)) => answers.push(master),
                Ok(None) => unknown = true,
                // Of the first in the list, so that an outage is told in the same words from attempt to attempt.
                Err((place, error)) if silent.as_ref().is_none_or(|(first, _)| place < *first) => {
                    silent = Some((place, error));
                }
                Err(_) => {}
            }
            if answers.len() >= most {
                deadline = deadline.min(Instant::now() + GRACE);
            }
        }
        match silent {
            _ if !answers.is_empty() => self.believe(&answers, before.as_ref()),
            Some((_, error)) if !unknown => Err(error),
            _ => Err(SentinelError::Unknown(self.config.master.clone())),
        }
    }

    /// The latest failover counts; of equals what more say. `before` is what was believed when they were asked.
    fn believe(&self, answers: &[Master], before: Option<&Master>) -> Result<Master, SentinelError> {
        let (all, answered) = (self.lines.len(), answers.len());
        let agreeing = |one: &Master| answers.iter().filter(|other| *other == one).count();
        let newest = answers.iter().max_by_key(|one| (one.epoch, agreeing(one)));
        let Some(newest) = newest else { return Err(SentinelError::Stale { answered, all }) };
        let mut verdict = Ok(newest.clone());
        self.believed.send_if_modified(|believed| {
            let moved = believed.as_ref().is_none_or(|known| known.at != newest.at);
            if let Some(known) = believed.as_ref().filter(|known| known.epoch > newest.epoch) {
                // Only most of them may take back what is believed: they were all set up anew.
                if Some(known) != before || agreeing(newest) <= all / 2 {
                    verdict =
                        if moved { Err(SentinelError::Stale { answered, all }) } else { Ok(known.clone()) };
                    return false;
                }
            }
            *believed = Some(newest.clone());
            moved
        });
        verdict
    }

    /// Whether this is the master, as far as is known.
    pub(super) fn is_believed(&self, at: &HostPort) -> bool {
        self.believed.borrow().as_ref().is_none_or(|master| master.at == *at)
    }

    /// Asks again and again, and resolves when the master is somewhere else.
    pub(super) async fn moved(&self, from: &HostPort, manner: &Manner) -> HostPort {
        let mut believed = self.believed.subscribe();
        let asking = async {
            loop {
                sleep(ASK_EVERY.mul_f64(rand::random_range(0.9..=1.0))).await;
                let found = self.find(manner).await.map(drop);
                self.tell(found.as_ref().copied());
            }
        };
        tokio::select! {
            elsewhere = believed.wait_for(|master| master.as_ref().is_some_and(|master| master.at != *from)) => {
                match elsewhere {
                    Ok(master) => master.as_ref().map_or_else(|| from.clone(), |master| master.at.clone()),
                    // The sender is here.
                    Err(_) => from.clone(),
                }
            }
            () = asking => from.clone(),
        }
    }

    fn tell(&self, outcome: Result<(), &SentinelError>) {
        if self.told.lock().is_new(outcome) {
            match outcome {
                Ok(()) => tracing::info!("the sentinels answer again"),
                Err(error) => {
                    tracing::warn!(%error, "staying with the master: the sentinels cannot be asked");
                }
            }
        }
    }

    /// What one of them knows; none where it knows no such master.
    async fn ask(&self, place: usize, manner: &Manner) -> Result<Option<Master>, (usize, SentinelError)> {
        let (Some(at), Some(line)) = (self.config.servers.get(place), self.lines.get(place)) else {
            return Ok(None);
        };
        let reason = match timeout(ANSWER, self.question(at, line, manner)).await {
            Ok(Ok(known)) => return Ok(known),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {ANSWER:?}"),
        };
        *line.lock() = None;
        Err((place, SentinelError::Silent { at: at.clone(), reason }))
    }

    async fn question(
        &self,
        at: &HostPort,
        line: &Mutex<Option<MultiplexedConnection>>,
        manner: &Manner,
    ) -> Result<Option<Master>, ConnectError> {
        let kept = line.lock().clone();
        if let Some(mut kept) = kept {
            match self.read(&mut kept).await {
                Err(error) if is_io(&error) => {}
                answer => return answer.map_err(ConnectError::Redis),
            }
        }
        // It may have been restarted since: asked once more, over a new connection.
        let mut made = self.connect(at, manner).await?;
        let answer = self.read(&mut made).await.map_err(ConnectError::Redis)?;
        *line.lock() = Some(made);
        Ok(answer)
    }

    async fn connect(&self, at: &HostPort, manner: &Manner) -> Result<MultiplexedConnection, ConnectError> {
        let mut login = RedisConnectionInfo::default();
        if let Some(user) = &self.config.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.config.password {
            login = login.set_password(password.read()?.expose_secret());
        }
        let trust = manner.tls.clone().unwrap_or_default();
        let stream = dial(&manner.address(at), &trust).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&login, stream, config).await;
        let (connection, driver) = made.map_err(ConnectError::Redis)?;
        // Ends by itself when nobody has the connection any more.
        tokio::spawn(driver);
        Ok(connection)
    }

    /// The epoch is read before the address, so that an address is never taken for newer than it is.
    async fn read(&self, connection: &mut MultiplexedConnection) -> Result<Option<Master>, RedisError> {
        let name = &self.config.master;
        let mut question = pipe();
        question.cmd("SENTINEL").arg("MASTER").arg(name);
        question.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        question.ignore_errors();
        let (state, address): (State, Address) = question.query_async(connection).await?;
        let Some((host, port)) = address? else { return Ok(None) };
        let epoch = state?.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        Ok(Some(Master { at: HostPort { host, port }, epoch }))
    }
}
