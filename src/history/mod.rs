//! What was published for a user a while ago, so that a client that comes back misses nothing.
//!
//! # What a reader may rely on
//! * A user's entries are in the order of their ids, and in the order in which they are delivered live.
//! * Entries leave at the old end only. So whoever finds an entry still there finds all that came after it too: that is
//!   the proof of continuity, and it needs no memory of trims, restarts or lost data.
//! * An entry may be a mark: a position without a message, for users for whom nothing was published yet.

mod join;
pub mod memory;
mod open;
mod script;

use futures_util::future::BoxFuture;

pub(crate) use script::{READ_SCRIPT, batch_script, check_script, unlimited_script};
pub use script::{REMEMBERED, SendBy, publish_script};

use crate::protocol::{EventId, Record, UserId};

pub use join::{Gap, Join, Live, Read};
pub use open::{Opening, open};

/// One place in a user's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A message.
    Message(Record),
    /// A position without a message.
    Mark(EventId),
}

impl Entry {
    /// Its place.
    #[must_use]
    pub fn id(&self) -> EventId {
        match self {
            Self::Message(record) => record.id,
            Self::Mark(id) => *id,
        }
    }
}

/// Where to begin reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At this entry, or where it is gone, at the next one.
    Entry(EventId),
    /// At the oldest entry. Where there is none, a mark is made and returned.
    Oldest,
}

/// Why history could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// No connection at this moment, or no answer within the bound.
    #[error("history cannot be reached")]
    Unavailable,
    /// The server answered with an error; its text is for the log only.
    #[error("history was refused: {0}")]
    Refused(String),
}

/// Where history is read. Who reads a user's history is there for it: its lifetime begins anew.
pub trait History: Send + Sync + 'static {
    /// Entries of a user in their order, at most `limit` of them. Fewer than that are all there were.
    fn read(&self, user: UserId, from: From, limit: usize)
    -> BoxFuture<'_, Result<Vec<Entry>, HistoryError>>;

    /// The place of the user's newest entry; where there is none, of a mark made for it.
    fn newest(&self, user: UserId) -> BoxFuture<'_, Result<EventId, HistoryError>>;

    /// Begins the lifetime of these users' histories anew without reading them: they are still connected.
    fn keep(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<(), HistoryError>>;
}
