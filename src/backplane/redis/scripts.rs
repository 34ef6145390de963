//! Calling the scripts that publish.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind, cmd};

use super::channels::Channels;
use crate::backplane::{BackplaneError, Published};
use crate::config::HistoryConfig;
use crate::history::{batch_script, unlimited_script};
use crate::protocol::{IdempotencyKey, Publication, Traceparent, UserId};

/// What a script returns for a message: its id, and the number of pods.
pub(super) type Answer = (Option<String>, u64);

/// The scripts for one and for many messages.
pub(super) struct Scripts {
    one: Stored,
    all: Stored,
}

impl Scripts {
    pub(super) fn new(history: &HistoryConfig) -> Self {
        Self { one: Stored::new(unlimited_script(history)), all: Stored::new(batch_script(history)) }
    }

    /// Publishes one message.
    pub(super) async fn one(
        &self,
        channels: &Channels,
        message: (&UserId, &Publication),
        connection: &mut MultiplexedConnection,
    ) -> Result<Answer, RedisError> {
        self.one.run(connection, |call| fill(call, channels, &[message])).await
    }

    /// Publishes all, or none.
    pub(super) async fn all(
        &self,
        channels: &Channels,
        messages: &[(&UserId, &Publication)],
        connection: &mut MultiplexedConnection,
    ) -> Result<Vec<Answer>, RedisError> {
        self.all.run(connection, |call| fill(call, channels, messages)).await
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
        connection: &mut MultiplexedConnection,
        fill: impl Fn(&mut Cmd),
    ) -> Result<T, RedisError> {
        let call = |name: &str, script: &str| {
            let mut call = cmd(name);
            call.arg(script);
            fill(&mut call);
            call
        };
        match call("EVALSHA", &self.hash).query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call("EVAL", &self.text).query_async(connection).await
            }
            outcome => outcome,
        }
    }
}

fn fill(command: &mut Cmd, channels: &Channels, messages: &[(&UserId, &Publication)]) {
    command.arg(messages.len());
    for (user, _) in messages {
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
