//! Calling the scripts that publish.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind, cmd};

use super::channels::Channels;
use crate::backplane::{BackplaneError, Published};
use crate::config::HistoryConfig;
use crate::history::{SendBy, batch_script, check_script, unlimited_script};
use crate::protocol::{IdempotencyKey, Publication, Traceparent, UserId};

/// What a script returns for a message: its id, and the number of pods.
pub(super) type Answer = (Option<String>, u64);

/// The scripts for one and for many messages.
pub(super) struct Scripts {
    one: Stored,
    all: Stored,
    check: Stored,
}

impl Scripts {
    pub(super) fn new(history: &HistoryConfig, send: SendBy) -> Self {
        Self {
            one: Stored::new(unlimited_script(history, send)),
            all: Stored::new(batch_script(history, send)),
            check: Stored::new(check_script(history, send)),
        }
    }

    /// Publishes one message.
    pub(super) async fn one(
        &self,
        channels: &Channels,
        message: (&UserId, &Publication),
        connection: MultiplexedConnection,
    ) -> Result<Answer, RedisError> {
        self.one.run(connection, |call| fill(call, channels, std::iter::once(message))).await
    }

    /// Publishes all, or none.
    pub(super) async fn all(
        &self,
        channels: &Channels,
        messages: &[&(UserId, Publication)],
        connection: MultiplexedConnection,
    ) -> Result<Vec<Answer>, RedisError> {
        self.all.run(connection, |call| fill(call, channels, pairs(messages))).await
    }

    /// Whether any would be refused, and nothing else.
    pub(super) async fn check(
        &self,
        channels: &Channels,
        messages: &[&(UserId, Publication)],
        connection: MultiplexedConnection,
    ) -> Result<(), RedisError> {
        self.check.run(connection, |call| fill(call, channels, pairs(messages))).await
    }
}

/// A script that Redis may or may not have.
pub(super) struct Stored {
    text: String,
    hash: String,
}

impl Stored {
    pub(super) fn new(text: String) -> Self {
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// One round trip, and a second one where Redis does not know the script (yet, or after a restart or a SCRIPT FLUSH):
    /// it says so before it does anything, and EVAL both stores and runs. SCRIPT LOAD would be one right more for the ACL.
    ///
    /// `fill` adds the number of keys, the keys and the arguments.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        mut connection: MultiplexedConnection,
        fill: impl Fn(&mut Cmd),
    ) -> Result<T, RedisError> {
        let call = |name: &str, script: &str| {
            let mut call = cmd(name);
            call.arg(script);
            fill(&mut call);
            call
        };
        match call("EVALSHA", &self.hash).query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call("EVAL", &self.text).query_async(&mut connection).await
            }
            outcome => outcome,
        }
    }
}

fn pairs<'a>(
    messages: &'a [&(UserId, Publication)],
) -> impl ExactSizeIterator<Item = (&'a UserId, &'a Publication)> + Clone {
    messages.iter().map(|(user, publication)| (user, publication))
}

fn fill<'a>(
    command: &mut Cmd,
    channels: &Channels,
    messages: impl ExactSizeIterator<Item = (&'a UserId, &'a Publication)> + Clone,
) {
    command.arg(messages.len());
    for (user, _) in messages.clone() {
        command.arg(channels.name(user));
    }
    for (_, publication) in messages {
        let key = publication.idempotency_key.as_ref().map_or("", IdempotencyKey::as_str);
        let trace = publication.traceparent.as_ref().map_or("", Traceparent::as_str);
        command.arg(publication.payload.as_str()).arg(key).arg(trace);
    }
}

/// The answer as callers see it.
pub(super) fn published((id, subscribers): Answer) -> Result<Published, BackplaneError> {
    let id = id.map(|id| id.parse()).transpose();
    let id = id.map_err(|_| BackplaneError::Refused("the script's answer has no id".to_owned()))?;
    Ok(Published { id, subscribers })
}
