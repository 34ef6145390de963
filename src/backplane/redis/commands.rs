//! The command connection: publishes.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, PushKind, RedisError, Value, cmd, pipe};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::channels::Channels;
use super::connect::{ConnectError, Connector, StartError, is_io};
use super::link::{Failure, Role, Up};
use super::tuning::Tuning;
use crate::backplane::{BackplaneError, Published};
use crate::config::BackplaneConfig;
use crate::protocol::{Payload, UserId};

/// The role of the command connection, and what publishes through it.
pub(super) struct Commands {
    channels: Channels,
    bound: Duration,
    connection: watch::Sender<Option<MultiplexedConnection>>,
}

impl Role for Commands {
    const NAME: &'static str = "publisher";

    fn pushed(&self, _kind: &PushKind, _data: Vec<Value>) {}

    async fn serve(&self, connection: MultiplexedConnection, up: &Up<'_>) -> Failure {
        self.connection.send_replace(Some(connection));
        up.reached(None);
        std::future::pending().await
    }

    fn lost(&self) {
        self.connection.send_replace(None);
    }
}

impl Commands {
    pub(super) fn new(channels: Channels, tuning: &Tuning) -> Self {
        Self { channels, bound: tuning.publish, connection: watch::Sender::new(None) }
    }

    /// Publishes one message, once: what may have been done is not done again.
    pub(super) async fn publish(
        &self,
        user: &UserId,
        payload: &Payload,
    ) -> Result<Published, BackplaneError> {
        let deadline = Instant::now() + self.bound;
        let mut connection = self.connected(deadline).await?;
        let publish = publish_command(&self.channels, user, payload);
        answer(deadline, publish.query_async(&mut connection)).await.map(published)
    }

    /// Publishes all in one transaction.
    pub(super) async fn publish_all(
        &self,
        messages: &[(UserId, Payload)],
    ) -> Result<Vec<Published>, BackplaneError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.bound;
        let mut connection = self.connected(deadline).await?;
        let mut transaction = pipe();
        transaction.atomic();
        for (user, payload) in messages {
            transaction.add_command(publish_command(&self.channels, user, payload));
        }
        let counts: Vec<u64> = answer(deadline, transaction.query_async(&mut connection)).await?;
        if counts.len() != messages.len() {
            return Err(BackplaneError::Refused("the transaction was discarded".to_owned()));
        }
        Ok(counts.into_iter().map(published).collect())
    }

    /// The connection; waits for it while it is being remade, so that a short blip fails no publication.
    async fn connected(&self, deadline: Instant) -> Result<MultiplexedConnection, BackplaneError> {
        let mut connections = self.connection.subscribe();
        let found = match timeout_at(deadline, connections.wait_for(Option::is_some)).await {
            Ok(Ok(connection)) => connection.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        found.ok_or(BackplaneError::Unavailable)
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

/// Publishes one message over a connection of its own: for a program that ends afterwards.
///
/// # Errors
/// [`PublishOnceError`]; after a timeout the message may have been published all the same.
pub async fn publish_once(
    config: &BackplaneConfig,
    name: &str,
    user: &UserId,
    payload: &Payload,
) -> Result<Published, PublishOnceError> {
    let tuning = Tuning::default();
    let connector = Connector::new(config, name, &tuning)?;
    let mut connection = connector.connect_for_commands().await?;
    let publish = publish_command(&Channels::new(&config.channel_prefix), user, payload);
    let deadline = Instant::now() + tuning.publish;
    Ok(answer(deadline, publish.query_async(&mut connection)).await.map(published)?)
}

fn publish_command(channels: &Channels, user: &UserId, payload: &Payload) -> Cmd {
    let mut publish = cmd("PUBLISH");
    publish.arg(channels.name(user)).arg(payload.as_str());
    publish
}

async fn answer<T>(
    deadline: Instant,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, BackplaneError> {
    match timeout_at(deadline, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if is_io(&error) => Err(BackplaneError::Unavailable),
        Ok(Err(error)) => Err(BackplaneError::Refused(error.to_string())),
        Err(_) => Err(BackplaneError::Timeout),
    }
}

fn published(subscribers: u64) -> Published {
    Published { id: None, subscribers }
}
