//! The command connection: publishes.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, RedisError, cmd, pipe};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::channels::Channels;
use super::connect::Connector;
use super::errors::{ConnectError, StartError, is_io, is_passing, is_read_only};
use super::link::{Failure, Role, Up};
use super::route::Route;
use super::scripts::{Scripts, published};
use super::tuning::Tuning;
use crate::backplane::{BackplaneError, Published};
use crate::config::{BackplaneConfig, HistoryConfig};
use crate::protocol::{Publication, UserId};

/// The role of the command connection, and what publishes through it.
pub(super) struct Commands {
    publisher: Publisher,
    bound: Duration,
    line: watch::Sender<Option<Line>>,
}

/// The connection, and where it leads.
struct Line {
    connection: MultiplexedConnection,
    route: Option<Route>,
}

impl Role for Commands {
    const NAME: &'static str = "publisher";

    fn message(&self, _channel: &[u8], _payload: &[u8]) {}

    async fn serve(&self, connection: MultiplexedConnection, up: &Up<'_>) -> Failure {
        self.line.send_replace(Some(Line { connection, route: up.route().cloned() }));
        up.reached(None);
        std::future::pending().await
    }

    async fn condemned(&self) -> Failure {
        match &self.publisher.read_only {
            Some(told) => told.notified().await,
            None => std::future::pending().await,
        }
        Failure::ReadOnly
    }

    fn lost(&self) {
        self.line.send_replace(None);
    }
}

impl Commands {
    pub(super) fn new(channels: Channels, history: &HistoryConfig, tuning: &Tuning) -> Self {
        let publisher = Publisher { read_only: Some(Notify::new()), ..Publisher::new(channels, history) };
        Self { publisher, bound: tuning.publish, line: watch::Sender::new(None) }
    }

    /// A user's plain channel, after which its keys are named.
    pub(super) fn channel(&self, user: &UserId) -> String {
        self.publisher.channels.name(user)
    }

    /// The channel of the fleet's orders.
    pub(super) fn orders(&self) -> String {
        self.publisher.channels.orders()
    }

    /// What stands before the user id in a channel's name.
    pub(super) fn prefix(&self) -> &str {
        self.publisher.channels.prefix()
    }

    /// Publishes one message, once: what may have been done is not done again.
    pub(super) async fn publish(
        &self,
        user: &UserId,
        publication: &Publication,
    ) -> Result<Published, BackplaneError> {
        let deadline = Instant::now() + self.bound;
        let mut connection = self.connected(deadline).await?;
        self.publisher.one(user, publication, &mut connection, deadline).await
    }

    /// Publishes all in one step.
    pub(super) async fn publish_all(
        &self,
        messages: &[(UserId, Publication)],
    ) -> Result<Vec<Published>, BackplaneError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.bound;
        let mut connection = self.connected(deadline).await?;
        self.publisher.all(messages, &mut connection, deadline).await
    }

    /// The connection; waits for it while it is being remade, so that a short blip fails no publication.
    ///
    /// Once the subscriber's link has moved to another master, none to the old one is handed out: what is read there would
    /// lack what was published since.
    pub(super) async fn connected(&self, deadline: Instant) -> Result<MultiplexedConnection, BackplaneError> {
        let usable = |line: &Option<Line>| {
            line.as_ref().is_some_and(|line| line.route.as_ref().is_none_or(Route::is_current))
        };
        let mut lines = self.line.subscribe();
        let found = match timeout_at(deadline, lines.wait_for(usable)).await {
            Ok(Ok(line)) => line.as_ref().map(|line| line.connection.clone()),
            Ok(Err(_)) | Err(_) => None,
        };
        found.ok_or(BackplaneError::Unavailable)
    }

    /// Waits for an answer until the deadline; gives the connection up where the server turns out to be a replica.
    pub(super) async fn answer<T>(
        &self,
        deadline: Instant,
        asked: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, BackplaneError> {
        self.publisher.answer(deadline, asked).await
    }
}

/// How a message gets from a connection into Redis.
struct Publisher {
    channels: Channels,
    scripts: Scripts,
    history: bool,
    /// Told when the server turns out to be a replica; none where nobody would connect anew.
    read_only: Option<Notify>,
}

impl Publisher {
    fn new(channels: Channels, history: &HistoryConfig) -> Self {
        let scripts = Scripts::new(history);
        Self { channels, scripts, history: history.is_on(), read_only: None }
    }

    async fn answer<T>(
        &self,
        deadline: Instant,
        asked: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, BackplaneError> {
        match timeout_at(deadline, asked).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if is_io(&error) || is_passing(&error) => Err(BackplaneError::Unavailable),
            Ok(Err(error)) => match &self.read_only {
                Some(told) if is_read_only(&error) => {
                    told.notify_waiters();
                    Err(BackplaneError::Unavailable)
                }
                _ => Err(BackplaneError::Refused(error.to_string())),
            },
            Err(_) => Err(BackplaneError::Timeout),
        }
    }

    async fn one(
        &self,
        user: &UserId,
        publication: &Publication,
        connection: &mut MultiplexedConnection,
        deadline: Instant,
    ) -> Result<Published, BackplaneError> {
        if self.scripted(publication) {
            let call = self.scripts.one(&self.channels, (user, publication), connection);
            return published(self.answer(deadline, call).await?);
        }
        let publish = self.bare(user, publication);
        let subscribers = self.answer(deadline, publish.query_async(connection)).await?;
        Ok(Published { id: None, subscribers })
    }

    async fn all(
        &self,
        messages: &[(UserId, Publication)],
        connection: &mut MultiplexedConnection,
        deadline: Instant,
    ) -> Result<Vec<Published>, BackplaneError> {
        let answers: Vec<Published> = if messages.iter().any(|(_, publication)| self.scripted(publication)) {
            let messages: Vec<_> = messages.iter().map(|(user, publication)| (user, publication)).collect();
            let call = self.scripts.all(&self.channels, &messages, connection);
            self.answer(deadline, call).await?.into_iter().map(published).collect::<Result<_, _>>()?
        } else {
            let mut transaction = pipe();
            transaction.atomic();
            for (user, publication) in messages {
                transaction.add_command(self.bare(user, publication));
            }
            let counts: Vec<u64> = self.answer(deadline, transaction.query_async(connection)).await?;
            counts.into_iter().map(|subscribers| Published { id: None, subscribers }).collect()
        };
        if answers.len() != messages.len() {
            return Err(BackplaneError::Refused("not every message was answered".to_owned()));
        }
        Ok(answers)
    }

    /// Whether it takes a script: a bare PUBLISH has neither a place in history nor a memory.
    fn scripted(&self, publication: &Publication) -> bool {
        self.history || publication.idempotency_key.is_some()
    }

    fn bare(&self, user: &UserId, publication: &Publication) -> Cmd {
        let mut publish = cmd("PUBLISH");
        publish.arg(self.channels.name(user)).arg(publication.payload.as_str());
        publish
    }
}

/// Why [`publish_once`] did not publish, in words for an operator. The texts hold no credentials.
#[derive(Debug, thiserror::Error)]
pub enum PublishOnceError {
    /// There is no URL to connect to.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no connection.
    #[error("cannot connect to Redis: {0}")]
    Connect(#[from] ConnectError),
    /// Refused, or not answered in time.
    #[error(transparent)]
    Publish(#[from] BackplaneError),
}

/// Publishes one message over a connection of its own, with history where that is on: for a program that ends afterwards.
///
/// # Errors
/// [`PublishOnceError`]; after a timeout the message may have been published all the same.
pub async fn publish_once(
    config: &BackplaneConfig,
    history: &HistoryConfig,
    name: &str,
    user: &UserId,
    publication: &Publication,
) -> Result<Published, PublishOnceError> {
    let tuning = Tuning::default();
    let connector = Connector::new(config, name, &tuning)?;
    let mut connection = connector.connect_for_commands().await?;
    let publisher = Publisher::new(Channels::new(&config.channel_prefix, history.is_on()), history);
    let deadline = Instant::now() + tuning.publish;
    Ok(publisher.one(user, publication, &mut connection, deadline).await?)
}
