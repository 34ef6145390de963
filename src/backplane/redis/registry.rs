//! The fleet's connections in Redis: a hash for each user, and a roll of the pods that live.
//!
//! An entry costs nothing while its connection is open: what proves it is that its pod's run is on the roll, which each pod
//! renews every five seconds. Entries of a run that ended without a word do not count, and go when they are in the way or
//! the hash expires.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ::redis::{cmd, pipe};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::commands::Commands;
use super::leaving::{AT_ONCE, LEAVING, Leaving, Left};
use super::scripts::Stored;
use super::tuning::Tuning;
use crate::backplane::{BackplaneError, Disconnect, EnterError, Entry, Limit, Order, Registry};
use crate::config::UserLimitPolicy;
use crate::protocol::{ConnectionId, UserId};
use crate::told::Told;

/// Words of a pod that may be missed until it counts as gone.
const WORD_COUNTS: u32 = 3;

/// How long a hash outlives the last time that a pod kept it.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// What asks Redis.
pub(super) struct FleetRegistry {
    commands: Arc<Commands>,
    /// This process, among all that ever were.
    run: String,
    enter: Stored,
    roll: Stored,
    leaving: mpsc::Sender<Left>,
    tuning: Tuning,
    told: Mutex<Told>,
}

impl FleetRegistry {
    /// The registry, and what left, for [`FleetRegistry::work`].
    pub(super) fn new(commands: Arc<Commands>, tuning: Tuning) -> (Arc<Self>, mpsc::Receiver<Left>) {
        let (leaving, left) = mpsc::channel(LEAVING);
        let registry = Self {
            commands,
            run: Uuid::from_u128(rand::random()).simple().to_string(),
            enter: Stored::new(include_str!("registry_enter.lua").to_owned()),
            roll: Stored::new(include_str!("roll.lua").to_owned()),
            leaving,
            tuning,
            told: Mutex::new(Told::working()),
        };
        (Arc::new(registry), left)
    }

    /// Keeps this run on the roll, and takes those out that left.
    pub(super) async fn work(self: Arc<Self>, left: mpsc::Receiver<Left>, stop: CancellationToken) {
        let beat = async {
            let mut tick = interval(self.tuning.roll_every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                // An outage is told by the link; the word is said again with the next tick.
                let _ = self.ask_roll(&self.run, &[]).await;
            }
        };
        let leaving = Leaving { commands: Arc::clone(&self.commands), tuning: self.tuning.clone() };
        tokio::select! {
            () = beat => {}
            () = leaving.run(left) => {}
            () = stop.cancelled() => {}
        }
    }

    fn key(&self, user: &UserId) -> String {
        self.commands.key(user, "connections")
    }

    /// Says that `run` lives, unless it is empty; answers which of `others` do not.
    async fn ask_roll(&self, run: &str, others: &[&str]) -> Result<HashSet<String>, BackplaneError> {
        let deadline = Instant::now() + self.tuning.publish;
        let counts = (self.tuning.roll_every * WORD_COUNTS).as_millis().to_string();
        let (slot, roll) = self.commands.of_fleet("pods", "roll");
        let call = |connection| {
            self.roll.run(connection, |call| {
                call.arg(1).arg(&roll).arg(&counts).arg(run).arg(others);
            })
        };
        self.commands.lines.ask(slot, deadline, call).await
    }

    /// Which of these, ids and values in turn, belong to a run that ended.
    async fn gone<'a>(&self, found: &'a [(String, String)]) -> Result<Vec<&'a str>, BackplaneError> {
        let runs: BTreeSet<&str> =
            found.iter().filter_map(|(_, value)| run_of(value)).filter(|run| *run != self.run).collect();
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let ended = self.ask_roll("", &runs.into_iter().collect::<Vec<_>>()).await?;
        let is_gone = |value: &str| run_of(value).is_none_or(|run| ended.contains(run));
        Ok(found.iter().filter(|(_, value)| is_gone(value)).map(|(id, _)| id.as_str()).collect())
    }

    async fn try_enter(
        &self,
        user: &UserId,
        entry: &Entry,
        limit: usize,
        beyond: &str,
        gone: &[&str],
    ) -> Result<Room, BackplaneError> {
        let deadline = Instant::now() + self.tuning.publish;
        let (id, value) = (entry.id.to_string(), self.value(entry)?);
        let (id, value) = (&id, &value);
        let call = |connection| {
            self.enter.run(connection, move |call| {
                call.arg(1).arg(self.key(user)).arg(id).arg(value).arg(limit);
                call.arg(LIFETIME.as_millis().to_string()).arg(beyond).arg(gone);
            })
        };
        let mut words: Vec<String> =
            self.commands.lines.ask(self.commands.slot(user), deadline, call).await?;
        let (entered, words) = match words.first().map(String::as_str) {
            Some("1") => (true, words.split_off(1)),
            Some("0") => (false, words.split_off(1)),
            _ => return Err(unexpected()),
        };
        if entered {
            return Ok(Room::Entered(words.iter().filter_map(|id| ConnectionId::parse(id)).collect()));
        }
        let pairs = words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        Ok(Room::Full(pairs.collect()))
    }

    fn value(&self, entry: &Entry) -> Result<String, BackplaneError> {
        let json = serde_json::to_string(entry).map_err(|_| unexpected())?;
        Ok(format!("{} {} {json}", entry.since, self.run))
    }

    /// Tells once that rights are missing; an outage has lines of its own.
    fn tell(&self, outcome: &Result<Vec<ConnectionId>, EnterError>) {
        let refused = match outcome {
            Ok(_) | Err(EnterError::Full) => Ok(()),
            Err(EnterError::Unknown(BackplaneError::Refused(words))) => Err(words),
            Err(EnterError::Unknown(_)) => return,
        };
        if self.told.lock().is_new(refused) {
            match refused {
                Ok(()) => tracing::info!("connections of users are counted over the fleet again"),
                Err(words) => tracing::warn!(
                    words,
                    "Redis refuses the registry of connections: users' limits count on each pod by itself"
                ),
            }
        }
    }
}

/// What came of an attempt to enter.
enum Room {
    /// It is in; these were taken out for it.
    Entered(Vec<ConnectionId>),
    /// These are there: ids and values.
    Full(Vec<(String, String)>),
}

impl Registry for FleetRegistry {
    fn enter(
        &self,
        user: UserId,
        entry: Entry,
        Limit { connections, policy }: Limit,
    ) -> BoxFuture<'_, Result<Vec<ConnectionId>, EnterError>> {
        Box::pin(async move {
            let enter = async {
                let found = match self.try_enter(&user, &entry, connections, "ask", &[]).await? {
                    Room::Entered(evicted) => return Ok(evicted),
                    Room::Full(found) => found,
                };
                let gone = self.gone(&found).await?;
                let beyond = match policy {
                    UserLimitPolicy::Reject => "reject",
                    UserLimitPolicy::EvictOldest => "evict",
                };
                match self.try_enter(&user, &entry, connections, beyond, &gone).await? {
                    Room::Entered(evicted) => Ok(evicted),
                    Room::Full(_) => Err(EnterError::Full),
                }
            };
            let outcome = enter.await;
            self.tell(&outcome);
            outcome
        })
    }

    fn leave(&self, user: UserId, id: ConnectionId) -> oneshot::Receiver<()> {
        let (done, left) = oneshot::channel();
        if self.leaving.try_send((user, id, done)).is_err() {
            tracing::debug!(
                "a connection that left stays listed: too many leave at once, or the service ends"
            );
        }
        left
    }

    fn list(&self, user: UserId) -> BoxFuture<'_, Result<Vec<Entry>, BackplaneError>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.tuning.publish;
            let mut all = cmd("HGETALL");
            all.arg(self.key(&user));
            let all = &all;
            let call = |mut connection| async move { all.query_async(&mut connection).await };
            let found: Vec<(String, String)> =
                self.commands.lines.ask(self.commands.slot(&user), deadline, call).await?;
            let gone = self.gone(&found).await?;
            let present = found.iter().filter(|(id, _)| !gone.contains(&id.as_str()));
            let mut entries: Vec<Entry> = present.filter_map(|(id, value)| entry(id, value)).collect();
            entries.sort_by_key(|entry| entry.since);
            Ok(entries)
        })
    }

    fn keep(&self, connections: Vec<(UserId, Entry)>) -> BoxFuture<'_, Result<(), BackplaneError>> {
        Box::pin(async move {
            let mut outcome = Ok(());
            for chunk in connections.chunks(AT_ONCE) {
                let deadline = Instant::now() + self.tuning.publish;
                let slots = chunk.iter().map(|connection| (self.commands.slot(&connection.0), connection));
                for (slot, connections) in self.commands.lines.by_server(slots) {
                    let mut keep = pipe();
                    for (user, entry) in connections {
                        let key = self.key(user);
                        // What is there knows more: what the client calls itself.
                        keep.cmd("HSETNX")
                            .arg(&key)
                            .arg(entry.id.to_string())
                            .arg(self.value(entry)?)
                            .ignore();
                        keep.cmd("PEXPIRE").arg(&key).arg(LIFETIME.as_millis().to_string()).ignore();
                    }
                    let keep = &keep;
                    let call = |mut connection| async move { keep.exec_async(&mut connection).await };
                    // One server that is away is no reason to forget the others' users.
                    outcome = self.commands.lines.ask(slot, deadline, call).await.and(outcome);
                }
            }
            outcome
        })
    }

    fn disconnect(&self, which: Disconnect) -> BoxFuture<'_, Result<u64, BackplaneError>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.tuning.publish;
            // Any server would do, and all pods are subscribed at this one too.
            let (slot, orders) = self.commands.orders();
            let mut publish = cmd("PUBLISH");
            publish
                .arg(orders)
                .arg(serde_json::to_string(&Order::Disconnect(which)).map_err(|_| unexpected())?);
            let publish = &publish;
            let call = |mut connection| async move { publish.query_async(&mut connection).await };
            self.commands.lines.ask(slot, deadline, call).await
        })
    }
}

fn unexpected() -> BackplaneError {
    BackplaneError::Refused("an answer of another form than expected".to_owned())
}

fn run_of(value: &str) -> Option<&str> {
    value.split(' ').nth(1)
}

/// An entry as it was written; none where something else stands there.
fn entry(id: &str, value: &str) -> Option<Entry> {
    let mut parts = value.splitn(3, ' ');
    let (since, _run, json) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let entry: Entry = serde_json::from_str(json).ok()?;
    Some(Entry { id: ConnectionId::parse(id)?, since, ..entry })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_entry_is_none() {
        let id = ConnectionId::random().to_string();
        let json = r#"{"pod":"ws-1","address":"192.0.2.1","mode":"v1","later":1}"#;
        let found = entry(&id, &format!("5 run {json}")).expect("an entry, of a later version too");
        assert_eq!((found.since, found.pod.as_str(), found.client), (5, "ws-1", None));
        assert_eq!(run_of("5 run {}"), Some("run"));
        for value in ["", "5", "5 run", "x run {}", "5 run {}", "5 run nonsense"] {
            assert_eq!(entry(&id, value), None, "{value}");
        }
        assert_eq!(entry("nonsense", &format!("5 run {json}")), None);
    }
}
