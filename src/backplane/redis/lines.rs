//! The command connections, one to each server, and which of them leads to a slot.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::redis::RedisError;
use ::redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::errors::{is_elsewhere, is_io, is_passing, is_read_only};
use super::link::{Failure, Role, Up};
use super::route::Route;
use super::slots::{NodeId, Owners, Slot, no_owners};
use super::tuning::ELSEWHERE_PAUSE;
use crate::backplane::BackplaneError;

/// The role of a command connection.
#[derive(Default)]
pub(super) struct Line {
    live: watch::Sender<Option<Live>>,
    /// The server turned out to be a replica.
    read_only: Notify,
}

/// The connection, and where it leads.
struct Live {
    connection: MultiplexedConnection,
    route: Option<Route>,
}

impl Role for Line {
    const NAME: &'static str = "publisher";

    fn message(&self, _channel: &[u8], _payload: &[u8]) {}

    async fn serve(&self, connection: MultiplexedConnection, up: &Up<'_>) -> Failure {
        self.live.send_replace(Some(Live { connection, route: up.route().cloned() }));
        up.reached(None);
        std::future::pending().await
    }

    async fn condemned(&self) -> Failure {
        self.read_only.notified().await;
        Failure::ReadOnly
    }

    fn lost(&self) {
        self.live.send_replace(None);
    }
}

impl Line {
    /// Waits for the connection.
    ///
    /// Once the subscriber's link has moved to another master, none to the old one is handed out: what is read there would
    /// lack what was published since.
    async fn connection(&self) -> Option<MultiplexedConnection> {
        let usable = |live: &Option<Live>| {
            live.as_ref().is_some_and(|live| live.route.as_ref().is_none_or(Route::is_current))
        };
        let mut lives = self.live.subscribe();
        let live = lives.wait_for(usable).await.ok()?;
        live.as_ref().map(|live| live.connection.clone())
    }

    /// Asks this server, whatever the slot.
    pub(super) async fn ask<T, F>(
        &self,
        deadline: Instant,
        call: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let connection = timeout_at(deadline, self.connection()).await.ok().flatten();
        let connection = connection.ok_or(BackplaneError::Unavailable)?;
        match timeout_at(deadline, call(connection)).await {
            Ok(outcome) => outcome.map_err(|error| self.judge(&error)),
            Err(_) => Err(BackplaneError::Timeout),
        }
    }

    /// What an error means to whoever asked; gives the connection up where the server turns out to be a replica.
    fn judge(&self, error: &RedisError) -> BackplaneError {
        if is_read_only(error) {
            self.read_only.notify_waiters();
            return BackplaneError::Unavailable;
        }
        judged(error)
    }
}

/// What an error means to whoever asked.
pub(super) fn judged(error: &RedisError) -> BackplaneError {
    if is_io(error) || is_passing(error) {
        BackplaneError::Unavailable
    } else if is_elsewhere(error) {
        BackplaneError::Refused(format!("{error}; for a Redis Cluster set REDIS_CLUSTER_NODES"))
    } else {
        BackplaneError::Refused(error.to_string())
    }
}

/// All of them.
pub(super) struct Lines {
    known: watch::Sender<Known>,
    /// Somebody was sent elsewhere: what is known of the cluster is old.
    outdated: Notify,
}

/// The servers there are.
#[derive(Clone)]
struct Known {
    /// None where there is one server.
    owners: Option<Arc<Owners>>,
    lines: Arc<BTreeMap<NodeId, Arc<Line>>>,
}

impl Known {
    fn node(&self, slot: Slot) -> Option<NodeId> {
        match &self.owners {
            None => Some(NodeId::ONE),
            Some(owners) => owners.get(slot.number()).copied().flatten(),
        }
    }
}

impl Lines {
    /// A line to the one server.
    pub(super) fn one(line: Arc<Line>) -> Self {
        let lines = Arc::new(BTreeMap::from([(NodeId::ONE, line)]));
        Self { known: watch::Sender::new(Known { owners: None, lines }), outdated: Notify::new() }
    }

    /// None yet.
    pub(super) fn of_cluster() -> Self {
        let (owners, lines) = (Some(Arc::new(no_owners())), Arc::default());
        Self { known: watch::Sender::new(Known { owners, lines }), outdated: Notify::new() }
    }

    /// From now on it is these.
    pub(super) fn change(&self, owners: Owners, lines: BTreeMap<NodeId, Arc<Line>>) {
        self.known.send_replace(Known { owners: Some(Arc::new(owners)), lines: Arc::new(lines) });
    }

    /// Whether slots have different servers.
    pub(super) fn is_cluster(&self) -> bool {
        self.known.borrow().owners.is_some()
    }

    /// Resolves when what is known of the cluster has turned out to be old.
    pub(super) async fn outdated(&self) {
        self.outdated.notified().await;
    }

    /// What is known of the cluster is old.
    pub(super) fn outdate(&self) {
        self.outdated.notify_one();
    }

    /// Who has the slot now; none while nobody has.
    pub(super) fn server(&self, slot: Slot) -> Option<NodeId> {
        self.known.borrow().node(slot)
    }

    /// Groups things by the server of their slot; each group with one of its slots.
    pub(super) fn by_server<T>(&self, things: impl IntoIterator<Item = (Slot, T)>) -> Vec<(Slot, Vec<T>)> {
        let known = self.known.borrow().clone();
        let mut groups: BTreeMap<Option<NodeId>, (Slot, Vec<T>)> = BTreeMap::new();
        for (slot, thing) in things {
            groups.entry(known.node(slot)).or_insert_with(|| (slot, Vec::new())).1.push(thing);
        }
        groups.into_values().collect()
    }

    /// Asks the server of the slot; waits for a connection while it is being remade, so that a short blip fails nothing.
    /// One that says that the slot is elsewhere has done nothing, so that whoever has it by then is asked.
    pub(super) async fn ask<T, F>(
        &self,
        slot: Slot,
        deadline: Instant,
        call: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        loop {
            let found = timeout_at(deadline, self.connected(slot)).await;
            let (line, connection) = found.map_err(|_| BackplaneError::Unavailable)?;
            match timeout_at(deadline, call(connection)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if self.is_cluster() && is_elsewhere(&error) => {
                    self.outdate();
                    if Instant::now() + ELSEWHERE_PAUSE >= deadline {
                        return Err(BackplaneError::Unavailable);
                    }
                    sleep(ELSEWHERE_PAUSE).await;
                }
                Ok(Err(error)) => return Err(line.judge(&error)),
                Err(_) => return Err(BackplaneError::Timeout),
            }
        }
    }

    async fn connected(&self, slot: Slot) -> (Arc<Line>, MultiplexedConnection) {
        let mut changes = self.known.subscribe();
        loop {
            let known = changes.borrow_and_update().clone();
            let line = known.node(slot).and_then(|node| known.lines.get(&node).cloned());
            let ready = async {
                match &line {
                    Some(line) => line.connection().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(connection) = ready => if let Some(line) = line { return (line, connection) },
                // The sender is here.
                _ = changes.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_is_taken_for_one_server_is_named() {
        let judged = |answer: &[u8]| {
            let value = ::redis::parse_redis_value(answer).expect("RESP");
            judged(&value.extract_error().expect_err("an error"))
        };
        let moved = judged(b"-MOVED 866 10.0.0.1:6379\r\n");
        let BackplaneError::Refused(words) = moved else { panic!("{moved:?}") };
        assert!(words.contains("10.0.0.1:6379") && words.contains("REDIS_CLUSTER_NODES"), "{words}");
        assert_eq!(judged(b"-LOADING Redis is loading\r\n"), BackplaneError::Unavailable);
    }
}
