//! History of a single pod: a ring of entries for each user, in this process.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Entry, From, History, HistoryError};
use crate::config::HistoryConfig;
use crate::protocol::{EventId, Publication, Record, UserId};

/// Users whose rings are looked at for their age each time a ring is used. More than one, so that rings go faster than
/// they come.
const SWEPT_AT_ONCE: usize = 2;

/// The newest entries of each user, exactly as many as configured. One lock: an append and its delivery are one step, so
/// that ids and live order agree.
#[derive(Debug)]
pub struct Rings {
    config: HistoryConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, Ring>,
    /// When each ring is to be looked at: one item for each, due no later than the ring is.
    due: BinaryHeap<Reverse<(Instant, UserId)>>,
    /// The newest id of all: one that outlives its ring, so that a clock that is set back makes no id twice.
    last: Option<EventId>,
}

#[derive(Debug)]
struct Ring {
    entries: VecDeque<Entry>,
    expires: Instant,
}

impl Rings {
    /// Empty rings of this size and age.
    #[must_use]
    pub fn new(config: HistoryConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    /// Appends a message and delivers it as one step; `deliver` is called under the lock and must not block. Returns the
    /// message's id and what `deliver` returned.
    pub fn append<T>(
        &self,
        user: &UserId,
        publication: &Publication,
        deliver: impl FnOnce(&Record) -> T,
    ) -> (EventId, T) {
        let mut state = self.state.lock();
        let id = state.next_id();
        // A copy, because the payload may be a small part of a large buffer that it would keep alive.
        let payload = Bytes::copy_from_slice(publication.payload.as_str().as_bytes());
        let record = Record { id, traceparent: publication.traceparent.clone(), payload };
        let delivered = deliver(&record);
        state.push(user, Entry::Message(record), &self.config);
        (id, delivered)
    }

    /// The user's entries, where they have not expired. Who asks is there, so that they live on.
    fn with<T>(&self, user: &UserId, read: impl FnOnce(&mut State, &HistoryConfig) -> T) -> T {
        let mut state = self.state.lock();
        state.sweep();
        state.forget_expired(user);
        if let Some(ring) = state.users.get_mut(user)
            && !ring.entries.is_empty()
        {
            ring.expires = Instant::now() + self.config.ttl;
        }
        read(&mut state, &self.config)
    }
}

impl State {
    /// As Redis makes them: the clock's milliseconds, and a count where those are no news.
    fn next_id(&mut self) -> EventId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = EventId { milliseconds: u64::try_from(now.as_millis()).unwrap_or(u64::MAX), sequence: 0 };
        let id = self.last.map_or(now, |last| now.max(last.successor()));
        self.last = Some(id);
        id
    }

    fn push(&mut self, user: &UserId, entry: Entry, config: &HistoryConfig) {
        self.sweep();
        self.forget_expired(user);
        let expires = Instant::now() + config.ttl;
        if !self.users.contains_key(user) {
            self.due.push(Reverse((expires, user.clone())));
        }
        let ring = self
            .users
            .entry(user.clone())
            .or_insert_with(|| Ring { entries: VecDeque::with_capacity(1), expires });
        ring.expires = expires;
        ring.entries.push_back(entry);
        while ring.entries.len() > config.size {
            ring.entries.pop_front();
        }
    }

    /// The entries of one user are not to be seen a moment longer, whenever the sweep comes by.
    fn forget_expired(&mut self, user: &UserId) {
        let now = Instant::now();
        if let Some(ring) = self.users.get_mut(user)
            && ring.expires <= now
        {
            // The ring itself stays for the sweep, which knows it.
            ring.entries = VecDeque::new();
        }
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        for _ in 0..SWEPT_AT_ONCE {
            let Some(Reverse((due, _))) = self.due.peek() else { return };
            if *due > now {
                return;
            }
            let Some(Reverse((_, user))) = self.due.pop() else { return };
            match self.users.get(&user).map(|ring| ring.expires) {
                Some(expires) if expires > now => self.due.push(Reverse((expires, user))),
                _ => drop(self.users.remove(&user)),
            }
        }
    }

    fn entries(&self, user: &UserId) -> Option<&VecDeque<Entry>> {
        self.users.get(user).map(|ring| &ring.entries).filter(|entries| !entries.is_empty())
    }

    fn mark(&mut self, user: &UserId, config: &HistoryConfig) -> EventId {
        let id = self.next_id();
        self.push(user, Entry::Mark(id), config);
        id
    }
}

impl History for Rings {
    fn read(
        &self,
        user: UserId,
        from: From,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, HistoryError>> {
        let read = self.with(&user, |state, config| {
            if from == From::Oldest && state.entries(&user).is_none() {
                state.mark(&user, config);
            }
            let Some(entries) = state.entries(&user) else { return Vec::new() };
            let first = match from {
                From::Oldest => 0,
                From::Entry(id) => entries.partition_point(|entry| entry.id() < id),
            };
            entries.range(first..).take(limit).cloned().collect()
        });
        Box::pin(async move { Ok(read) })
    }

    fn newest(&self, user: UserId) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        let newest = self.with(&user, |state, config| {
            let newest = state.entries(&user).and_then(VecDeque::back).map(Entry::id);
            newest.unwrap_or_else(|| state.mark(&user, config))
        });
        Box::pin(async move { Ok(newest) })
    }

    fn keep(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<(), HistoryError>> {
        for user in &users {
            self.with(user, |_, _| ());
        }
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
