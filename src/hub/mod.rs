//! Who is connected to this pod, in shards, and how a message finds them.

mod closed;
mod connection;
mod shard;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::{OutboxConfig, UserLimitPolicy};
use crate::metrics::Metrics;
use crate::protocol::{Close, Envelope, ErrorCode, UserId};
use crate::session::{Ended, Push};

pub use closed::Closed;
use closed::LastCloses;
pub use connection::Connection;
use shard::Shard;

/// Shards for each core: enough that two cores seldom meet at one lock.
const SHARDS_PER_CORE: usize = 16;

/// The user has as many connections as are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user has {limit} connections, which is the limit")]
pub struct TooMany {
    /// `MAX_CONNECTIONS_PER_USER`.
    pub limit: usize,
}

/// How many connections a user may have here, and what happens to the next one.
#[derive(Debug, Clone, Copy)]
pub struct UserLimit {
    /// Most connections of one user on this pod.
    pub connections: usize,
    /// What happens beyond it.
    pub policy: UserLimitPolicy,
}

/// All connections of this pod, by user.
///
/// A shard's lock is held for a look-up, an insertion or a push into a few outboxes; never over an await or a log line.
#[derive(Debug)]
pub struct Hub {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    connections: AtomicUsize,
    users: AtomicUsize,
    emptied: Notify,
    last_closes: LastCloses,
}

/// Keeps a connection in the hub for as long as it lives.
#[derive(Debug)]
pub struct Registration {
    hub: Arc<Hub>,
    user: UserId,
    connection: Arc<Connection>,
}

impl Hub {
    /// An empty hub, with shards for this machine's cores.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shards = (cores * SHARDS_PER_CORE).next_power_of_two();
        Arc::new(Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            connections: AtomicUsize::new(0),
            users: AtomicUsize::new(0),
            emptied: Notify::new(),
            last_closes: LastCloses::default(),
        })
    }

    /// Adds a connection; from now on the user's messages gather in its outbox.
    ///
    /// # Errors
    /// [`TooMany`] when the user is at the limit and the policy is to reject. With `evict_oldest` it is for
    /// [`Hub::make_room`] to see to the limit, once the connection is sure to come about.
    pub fn register(
        self: &Arc<Self>,
        user: UserId,
        connection: Connection,
        limit: UserLimit,
    ) -> Result<Registration, TooMany> {
        let connection = Arc::new(connection);
        {
            let mut shard = self.shard(user.as_str()).lock();
            let full = shard.of(user.as_str()).len() >= limit.connections;
            if full && limit.policy == UserLimitPolicy::Reject {
                return Err(TooMany { limit: limit.connections });
            }
            if shard.add(&user, Arc::clone(&connection)) {
                self.users.fetch_add(1, Ordering::Relaxed);
            }
            self.connections.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Registration { hub: Arc::clone(self), user, connection })
    }

    /// Closes the user's oldest connections beyond the limit with 4000. They leave their places now, and are counted until
    /// their sessions end.
    pub fn make_room(&self, user: &UserId, limit: UserLimit) {
        let mut evicted = Vec::new();
        {
            let mut shard = self.shard(user.as_str()).lock();
            while shard.of(user.as_str()).len() > limit.connections {
                evicted.extend(shard.take_oldest(user.as_str()));
            }
        }
        for oldest in evicted {
            oldest.outbox.close(replaced());
        }
    }

    /// The link of these users is cut: connections that resume hold back what comes.
    pub fn cut(&self, whose: &dyn Fn(&str) -> bool, metrics: &Metrics) {
        for connection in self.all_of(whose) {
            connection.outbox.cut(metrics);
        }
    }

    /// The link of these users is there again: connections that resume read what they missed.
    pub fn restored(&self, whose: &dyn Fn(&str) -> bool) {
        for connection in self.all_of(whose) {
            connection.outbox.restored();
        }
    }

    /// Users with a connection that resumes.
    #[must_use]
    pub fn resuming(&self) -> Vec<UserId> {
        self.shards.iter().flat_map(|shard| shard.lock().resuming()).collect()
    }

    /// Puts a message into the outbox of each of the user's connections; returns how many took it.
    pub fn deliver(
        &self,
        user: &str,
        envelope: &Arc<Envelope>,
        bounds: &OutboxConfig,
        metrics: &Metrics,
    ) -> usize {
        let shard = self.shard(user).lock();
        let offered =
            shard.of(user).iter().map(|connection| connection.outbox.offer(envelope, bounds, metrics));
        offered.filter(|push| matches!(push, Push::Queued | Push::DroppedOldest { queued: true, .. })).count()
    }

    /// The user's connections here, oldest first.
    #[must_use]
    pub fn connections_of(&self, user: &str) -> Vec<Arc<Connection>> {
        self.shard(user).lock().of(user).to_vec()
    }

    /// Remembers how a connection ended, until 1,024 other users have lost one.
    pub fn closed(&self, registration: &Registration, ended: &Ended, lasted: Duration) {
        let closed = Closed::now(registration.connection.id, ended, lasted);
        self.last_closes.note(&registration.user, closed);
    }

    /// How the user's last connection here ended, as far as that is remembered.
    #[must_use]
    pub fn last_close(&self, user: &str) -> Option<Closed> {
        self.last_closes.of(user)
    }

    /// Every connection here with its user, in no order.
    #[must_use]
    pub fn present(&self) -> Vec<(UserId, Arc<Connection>)> {
        self.shards.iter().flat_map(|shard| shard.lock().present()).collect()
    }

    /// Every connection here, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Connection>> {
        self.all_of(&|_| true)
    }

    fn all_of(&self, whose: &dyn Fn(&str) -> bool) -> Vec<Arc<Connection>> {
        self.shards.iter().flat_map(|shard| shard.lock().all_of(whose)).collect()
    }

    /// How many connections are registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many users have a connection here.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }

    /// Resolves once nobody is connected.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn shard(&self, user: &str) -> &Mutex<Shard> {
        // The high bits, for the shard's own map uses the low ones. The number of shards is a power of two.
        let hash = self.hasher.hash_one(user);
        let bits = self.shards.len().trailing_zeros();
        let index = hash.checked_shr(u64::BITS - bits).unwrap_or(0);
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }
}

impl Registration {
    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let last_of_user =
            self.hub.shard(self.user.as_str()).lock().remove(self.user.as_str(), self.connection.id);
        if last_of_user {
            self.hub.users.fetch_sub(1, Ordering::Relaxed);
        }
        if self.hub.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.hub.emptied.notify_waiters();
        }
    }
}

/// How a connection ends that makes room for a newer one.
#[must_use]
pub fn replaced() -> Close {
    Close::of(ErrorCode::QuotaExceeded, "Replaced by a newer one")
}

#[cfg(test)]
mod tests;
