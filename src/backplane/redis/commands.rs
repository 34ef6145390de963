//! Publishing, and what else the parts of the backplane ask servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, RedisError, cmd, pipe};
use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout_at};

use super::channels::Channels;
use super::connect::Connector;
use super::errors::{ConnectError, StartError, is_elsewhere};
use super::lines::{Lines, judged};
use super::scripts::{Answer, Scripts, published};
use super::slots::{NodeId, Slot};
use super::tuning::Tuning;
use crate::backplane::{BackplaneError, Published};
use crate::config::{BackplaneConfig, HistoryConfig};
use crate::protocol::{Publication, UserId};

/// What asks servers, by the slot of what is asked for.
pub(super) struct Commands {
    publisher: Publisher,
    bound: Duration,
    /// The connections.
    pub(super) lines: Arc<Lines>,
}

impl Commands {
    pub(super) fn new(
        channels: Channels,
        history: &HistoryConfig,
        lines: Arc<Lines>,
        tuning: &Tuning,
    ) -> Self {
        Self { publisher: Publisher::new(channels, history), bound: tuning.publish, lines }
    }

    /// A user's plain channel, after which its keys are named.
    pub(super) fn channel(&self, user: &UserId) -> String {
        self.publisher.channels.name(user)
    }

    /// A key of a user's.
    pub(super) fn key(&self, user: &UserId, name: &str) -> String {
        format!("{{{}}}:{name}", self.channel(user))
    }

    /// Who has it now; none while nobody has.
    pub(super) fn server(&self, user: &UserId) -> Option<NodeId> {
        self.lines.server(self.slot(user))
    }

    /// The slot of all that belongs to a user.
    pub(super) fn slot(&self, user: &UserId) -> Slot {
        self.publisher.channels.slot(user)
    }

    /// The name of something that belongs to the fleet, with its slot. `tag` is what has to be together.
    pub(super) fn of_fleet(&self, tag: &str, name: &str) -> (Slot, String) {
        let prefix = self.publisher.channels.prefix();
        let slot = Slot::of(&[prefix, "websocket-service:", tag]);
        (slot, format!("{{{prefix}websocket-service:{tag}}}:{name}"))
    }

    /// The channel of the fleet's orders. It is no user's: it ends in another way than their channels of messages.
    pub(super) fn orders(&self) -> (Slot, String) {
        self.of_fleet("pods", "orders")
    }

    /// Publishes one message, once: what may have been done is not done again.
    pub(super) async fn publish(
        &self,
        user: &UserId,
        publication: &Publication,
    ) -> Result<Published, BackplaneError> {
        let deadline = Instant::now() + self.bound;
        let call = |connection| self.publisher.one(user, publication, connection);
        published(self.lines.ask(self.slot(user), deadline, call).await?)
    }

    /// Publishes all in one step. In a cluster each slot's are a step of their own, after all servers were asked whether
    /// they would refuse any.
    pub(super) async fn publish_all(
        &self,
        messages: &[(UserId, Publication)],
    ) -> Result<Vec<Published>, BackplaneError> {
        let deadline = Instant::now() + self.bound;
        let steps = if self.lines.is_cluster() { self.steps(messages) } else { whole(messages) };
        if steps.len() > 1 && messages.iter().any(|(_, publication)| self.publisher.scripted(publication)) {
            let checks = steps.iter().map(|step| {
                self.lines.ask(step.slot, deadline, move |connection| {
                    self.publisher.check(&step.messages, connection)
                })
            });
            try_join_all(checks).await?;
        }
        let calls = steps.iter().map(|step| {
            self.lines
                .ask(step.slot, deadline, move |connection| self.publisher.all(&step.messages, connection))
        });
        let mut answers = vec![None; messages.len()];
        for (step, answered) in steps.iter().zip(try_join_all(calls).await?) {
            for (place, answer) in step.places.iter().zip(answered) {
                answers[*place] = Some(published(answer)?);
            }
        }
        let all: Option<Vec<_>> = answers.into_iter().collect();
        all.ok_or_else(|| BackplaneError::Refused("not every message was answered".to_owned()))
    }

    fn steps<'a>(&self, messages: &'a [(UserId, Publication)]) -> Vec<Step<'a>> {
        let mut steps = BTreeMap::new();
        for (place, message) in messages.iter().enumerate() {
            let slot = self.slot(&message.0);
            let step =
                steps.entry(slot).or_insert_with(|| Step { slot, places: Vec::new(), messages: Vec::new() });
            step.places.push(place);
            step.messages.push(message);
        }
        steps.into_values().collect()
    }
}

/// Messages that one server takes in one step, and their places in the whole.
struct Step<'a> {
    slot: Slot,
    places: Vec<usize>,
    messages: Vec<&'a (UserId, Publication)>,
}

/// One step; none for nothing.
fn whole(messages: &[(UserId, Publication)]) -> Vec<Step<'_>> {
    let step = Step {
        slot: Slot::of(&[]),
        places: (0..messages.len()).collect(),
        messages: messages.iter().collect(),
    };
    if messages.is_empty() { Vec::new() } else { vec![step] }
}

/// How a message gets from a connection into Redis.
struct Publisher {
    channels: Channels,
    scripts: Scripts,
    history: bool,
}

impl Publisher {
    fn new(channels: Channels, history: &HistoryConfig) -> Self {
        let scripts = Scripts::new(history, channels.send_by());
        Self { channels, scripts, history: history.is_on() }
    }

    async fn one(
        &self,
        user: &UserId,
        publication: &Publication,
        mut connection: MultiplexedConnection,
    ) -> Result<Answer, RedisError> {
        if self.scripted(publication) {
            return self.scripts.one(&self.channels, (user, publication), connection).await;
        }
        let subscribers = self.bare(user, publication).query_async(&mut connection).await?;
        Ok((None, subscribers))
    }

    async fn all(
        &self,
        messages: &[&(UserId, Publication)],
        mut connection: MultiplexedConnection,
    ) -> Result<Vec<Answer>, RedisError> {
        if messages.iter().any(|(_, publication)| self.scripted(publication)) {
            return self.scripts.all(&self.channels, messages, connection).await;
        }
        let mut transaction = pipe();
        transaction.atomic();
        for (user, publication) in messages {
            transaction.add_command(self.bare(user, publication));
        }
        let counts: Vec<u64> = transaction.query_async(&mut connection).await?;
        Ok(counts.into_iter().map(|subscribers| (None, subscribers)).collect())
    }

    /// Whether the server would refuse any of these; it does nothing else.
    async fn check(
        &self,
        messages: &[&(UserId, Publication)],
        connection: MultiplexedConnection,
    ) -> Result<(), RedisError> {
        self.scripts.check(&self.channels, messages, connection).await
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
    /// There is no connection. The reason is in the text, and no source, or it would be told twice.
    #[error("cannot connect to Redis: {0}")]
    Connect(ConnectError),
    /// Refused, or not answered in time.
    #[error(transparent)]
    Publish(#[from] BackplaneError),
}

impl From<ConnectError> for PublishOnceError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
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
    let publisher = Publisher::new(Channels::new(config, history.is_on()), history);
    if !publisher.channels.is_servable(user) {
        return Err(BackplaneError::UserId.into());
    }
    let deadline = Instant::now() + tuning.publish;
    loop {
        let connection = connector.connect_to(publisher.channels.slot(user)).await?;
        match timeout_at(deadline, publisher.one(user, publication, connection)).await {
            Ok(Ok(answer)) => return Ok(published(answer)?),
            // A slot that has just moved. Nothing was done.
            Ok(Err(error)) if connector.cluster().is_some() && is_elsewhere(&error) => {
                if Instant::now() >= deadline {
                    return Err(BackplaneError::Unavailable.into());
                }
            }
            Ok(Err(error)) => return Err(judged(&error).into()),
            Err(_) => return Err(BackplaneError::Timeout.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once() {
        let gone = ConnectError::Network(std::io::Error::other("the network is gone"));
        let told = anyhow::Error::from(PublishOnceError::from(gone));
        assert_eq!(format!("{told:#}"), "cannot connect to Redis: the network is gone");
    }
}
