//! Who is connected to the whole fleet: the limit of a user's connections counts over all pods, an operator sees and closes
//! connections on any of them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::BackplaneError;
use crate::config::UserLimitPolicy;
use crate::protocol::{ConnectionId, Mode, UserId};

/// How long the end of a connection waits until the fleet knows. Beyond it the fleet learns a little later.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// A connection as the fleet knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    #[serde(skip)]
    pub id: ConnectionId,
    /// When its upgrade was accepted, in milliseconds since 1970 by its pod's clock.
    #[serde(skip)]
    pub since: u64,
    /// The pod that holds it.
    pub pod: String,
    /// The client's address.
    pub address: IpAddr,
    /// Which way of talking the client chose.
    pub mode: Mode,
    /// What the client calls itself (`User-Agent`), shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// How many connections a user may have in the fleet.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Most connections.
    pub connections: usize,
    /// What happens beyond it.
    pub policy: UserLimitPolicy,
}

/// Why a connection did not come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnterError {
    /// The user has as many as are allowed.
    #[error("the user has as many connections as are allowed")]
    Full,
    /// Nobody knows how many there are.
    #[error(transparent)]
    Unknown(#[from] BackplaneError),
}

/// Which of a user's connections are to be closed, wherever they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    /// Whose.
    pub user: UserId,
    /// These.
    pub connections: Vec<ConnectionId>,
    /// And all that opened before this time, by the clock of whoever wants it: for those that are in no list. One that comes
    /// after the word is not what was meant, although it may be there when the word arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_before: Option<SystemTime>,
    /// Why they are to be closed.
    pub why: Why,
}

impl Disconnect {
    /// Whether a connection of the user's is one of them, which opened at `since`.
    #[must_use]
    pub fn means(&self, id: ConnectionId, since: SystemTime) -> bool {
        self.connections.contains(&id) || self.opened_before.is_some_and(|time| since < time)
    }
}

/// Why connections are closed by order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// An operator wants it: 4004.
    Disconnected,
    /// A newer connection took the place: 4000.
    Replaced,
}

/// The fleet's connections. What is known of a pod that ended without a word is forgotten within 15 s.
pub trait Registry: Send + Sync + 'static {
    /// Adds a connection, and takes those out that have to make room for it; it is the caller's to close them.
    fn enter(
        &self,
        user: UserId,
        entry: Entry,
        limit: Limit,
    ) -> BoxFuture<'_, Result<Vec<ConnectionId>, EnterError>>;

    /// Takes a connection out, sooner or later: also after an outage. What is returned resolves when it is done.
    fn leave(&self, user: UserId, id: ConnectionId) -> oneshot::Receiver<()>;

    /// The user's connections, oldest first.
    fn list(&self, user: UserId) -> BoxFuture<'_, Result<Vec<Entry>, BackplaneError>>;

    /// Sees to it that these connections of this pod are known, for another while.
    fn keep(&self, connections: Vec<(UserId, Entry)>) -> BoxFuture<'_, Result<(), BackplaneError>>;

    /// Has them closed on all pods, once; one whose link is cut at that moment does not hear it. Returns how many pods hear.
    fn disconnect(&self, which: Disconnect) -> BoxFuture<'_, Result<u64, BackplaneError>>;
}

/// A connection's place among those of its user; given back when dropped.
pub struct Presence {
    registry: Arc<dyn Registry>,
    user: UserId,
    id: ConnectionId,
    ended: bool,
}

impl Presence {
    /// For a connection that entered.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, user: UserId, id: ConnectionId) -> Self {
        Self { registry, user, id, ended: false }
    }

    /// Gives the place back and waits until the fleet knows, a second at most: a client that sees its connection end and
    /// comes back to another pod finds its place free.
    pub async fn end(mut self) {
        self.ended = true;
        let left = self.registry.leave(self.user.clone(), self.id);
        // Late or not at all: the registry goes on with it.
        let _ = timeout(LEAVE_WAIT, left).await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.ended {
            drop(self.registry.leave(self.user.clone(), self.id));
        }
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("id", &self.id).finish_non_exhaustive()
    }
}
