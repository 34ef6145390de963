//! Reading users' histories over the command connection. They are written by the publish script.

use std::time::Duration;

use ::redis::pipe;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::commands::Commands;
use super::scripts::Stored;
use crate::backplane::BackplaneError;
use crate::config::HistoryConfig;
use crate::history::{Entry, From, HistoryError, READ_SCRIPT};
use crate::protocol::{EventId, Record, Traceparent, UserId};
use crate::told::Told;

/// Reads under way at once. After an outage every connection reads: this keeps their answers from filling memory, and
/// lets publications through in between.
const READS_AT_ONCE: usize = 32;

/// Users whose histories are kept in one pipeline.
const KEEPS_AT_ONCE: usize = 500;

/// An entry as `XRANGE` gives it: its id, and its fields.
type Raw = (String, Vec<(String, Vec<u8>)>);

/// Reads histories.
pub(super) struct Histories {
    script: Stored,
    lifetime: u64,
    bound: Duration,
    reads: Semaphore,
    told: Mutex<Told>,
}

impl Histories {
    pub(super) fn new(history: HistoryConfig, bound: Duration) -> Self {
        Self {
            script: Stored::new(READ_SCRIPT.to_owned()),
            lifetime: u64::try_from(history.ttl.as_millis()).unwrap_or(u64::MAX),
            bound,
            reads: Semaphore::new(READS_AT_ONCE),
            told: Mutex::new(Told::working()),
        }
    }

    pub(super) async fn read(
        &self,
        commands: &Commands,
        user: &UserId,
        from: From,
        limit: usize,
    ) -> Result<Vec<Entry>, HistoryError> {
        let from = match from {
            From::Entry(id) => id.to_string(),
            From::Oldest => "-".to_owned(),
        };
        self.ask(commands, user, &from, limit).await?.into_iter().map(entry).collect()
    }

    pub(super) async fn newest(&self, commands: &Commands, user: &UserId) -> Result<EventId, HistoryError> {
        let found = self.ask(commands, user, "+", 1).await?;
        found.first().map_or_else(|| Err(unexpected()), |(id, _)| parse(id))
    }

    pub(super) async fn keep(&self, commands: &Commands, users: &[UserId]) -> Result<(), HistoryError> {
        let mut outcome = Ok(());
        for (slot, users) in commands.lines.by_server(users.iter().map(|user| (commands.slot(user), user))) {
            for users in users.chunks(KEEPS_AT_ONCE) {
                let deadline = Instant::now() + self.bound;
                let mut keep = pipe();
                for user in users {
                    for key in ["history", "mark"] {
                        keep.cmd("PEXPIRE").arg(commands.key(user, key)).arg(self.lifetime).ignore();
                    }
                }
                let keep = &keep;
                let call = |mut connection| async move { keep.exec_async(&mut connection).await };
                let kept = commands.lines.ask(slot, deadline, call).await.map_err(|error| self.failed(error));
                // One server that is away is no reason to forget the others' users.
                outcome = kept.and(outcome);
            }
        }
        outcome
    }

    /// Calls the script: `from` and `limit` are its arguments.
    async fn ask(
        &self,
        commands: &Commands,
        user: &UserId,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Raw>, HistoryError> {
        let _place = self.reads.acquire().await.map_err(|_| HistoryError::Unavailable)?;
        let deadline = Instant::now() + self.bound;
        let call = |connection| {
            self.script.run(connection, |call| {
                call.arg(1).arg(commands.channel(user)).arg(self.lifetime).arg(from).arg(limit);
            })
        };
        match commands.lines.ask(commands.slot(user), deadline, call).await {
            Ok(found) => {
                self.tell(Ok(()));
                Ok(found)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: BackplaneError) -> HistoryError {
        match error {
            // The link has a line of its own for that.
            BackplaneError::Unavailable | BackplaneError::Timeout | BackplaneError::UserId => {
                HistoryError::Unavailable
            }
            BackplaneError::Refused(words) => {
                self.tell(Err(&words));
                HistoryError::Refused(words)
            }
        }
    }

    fn tell(&self, outcome: Result<(), &String>) {
        if self.told.lock().is_new(outcome) {
            match outcome {
                Ok(()) => tracing::info!("history can be read again"),
                Err(error) => {
                    tracing::warn!(error, "Redis refuses to read history: clients are told of gaps");
                }
            }
        }
    }
}

fn parse(id: &str) -> Result<EventId, HistoryError> {
    id.parse().map_err(|_| unexpected())
}

fn unexpected() -> HistoryError {
    HistoryError::Refused("an answer of another form than expected".to_owned())
}

/// An entry without a payload is a mark.
fn entry((id, fields): Raw) -> Result<Entry, HistoryError> {
    let id = parse(&id)?;
    let (mut payload, mut traceparent) = (None, None);
    for (name, value) in fields {
        match name.as_str() {
            "p" => payload = Some(Bytes::from(value)),
            "t" => traceparent = std::str::from_utf8(&value).ok().and_then(Traceparent::parse),
            _ => {}
        }
    }
    Ok(match payload {
        Some(payload) => Entry::Message(Record { id, traceparent, payload }),
        None => Entry::Mark(id),
    })
}
