//! Who is wanted, and what the server has been told of it: a state machine without I/O.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};

use tokio_util::sync::CancellationToken;

use crate::backplane::Subscriptions;
use crate::protocol::UserId;

/// Room that queue and waiting list keep when they are empty; the rest of a connect storm's memory is given back.
const KEPT: usize = 64;

/// What the server knows of a user's channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing.
    #[default]
    Absent,
    /// A SUBSCRIBE is under way.
    Joining,
    /// Subscribed and confirmed.
    Joined,
    /// An UNSUBSCRIBE is under way.
    Leaving,
    /// The server refused the SUBSCRIBE (its ACL); asked again when it is wanted again or the link is remade.
    Refused,
}

/// One user. There is an entry exactly while the user is wanted, or the server still has to be told that it is not.
#[derive(Debug, Default)]
struct Entry {
    count: u32,
    stage: Stage,
    /// In `queue`; keeps every user in it once at most, which bounds it by the number of users.
    queued: bool,
}

/// What a waiter finds.
#[derive(Debug)]
pub(super) enum Standing {
    /// Subscribed and confirmed by the link of this number: what is published from now on arrives.
    Joined(u64),
    /// Refused by the server.
    Refused,
    /// Undecided; look again when this is cancelled.
    Pending(CancellationToken),
}

/// What somebody finds who does not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Subscribed and confirmed by the link of this number.
    Joined(u64),
    /// Refused by the server.
    Refused,
    /// Undecided.
    Pending,
}

/// Names for the next commands, each user in one of the lists at most.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) join: Vec<UserId>,
    pub(super) leave: Vec<UserId>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.join.is_empty() && self.leave.is_empty()
    }
}

/// The table of users.
///
/// An idle user costs one slot of the map and nothing else: what waiting takes is kept apart, and only while somebody
/// may be waiting.
#[derive(Debug, Default)]
pub(super) struct Interest {
    users: HashMap<UserId, Entry>,
    /// Users about whom the server may have to be told something, oldest first. Empty while there is no link.
    queue: VecDeque<UserId>,
    waiting: HashMap<UserId, CancellationToken>,
    linked: bool,
    /// Links so far, the present one included: its number.
    links: u64,
    /// How many at the head of the queue were wanted when the link came up.
    backlog: usize,
}

impl Interest {
    /// One more connection wants the user's messages. True when the server has to be told.
    pub(super) fn want(&mut self, user: &UserId) -> bool {
        let entry = self.users.entry(user.clone()).or_default();
        entry.count += 1;
        if entry.stage == Stage::Refused {
            entry.stage = Stage::Absent;
        }
        entry.stage == Stage::Absent && self.linked && enqueue(&mut self.queue, user, entry)
    }

    /// One connection less. True when the server has to be told.
    pub(super) fn release(&mut self, user: &UserId) -> bool {
        let Slot::Occupied(mut slot) = self.users.entry(user.clone()) else { return false };
        let entry = slot.get_mut();
        entry.count = entry.count.saturating_sub(1);
        if entry.count > 0 {
            return false;
        }
        self.waiting.remove(user);
        match entry.stage {
            Stage::Joined => enqueue(&mut self.queue, user, entry),
            Stage::Absent | Stage::Refused if !entry.queued => {
                slot.remove();
                false
            }
            // Told when what is under way is answered, or skipped when its turn in the queue comes.
            Stage::Absent | Stage::Refused | Stage::Joining | Stage::Leaving => false,
        }
    }

    /// How a wanted user stands, for one who waits.
    pub(super) fn standing(&mut self, user: &UserId) -> Standing {
        match self.known(user) {
            Known::Joined(link) => Standing::Joined(link),
            Known::Refused => Standing::Refused,
            Known::Pending => Standing::Pending(self.waiting.entry(user.clone()).or_default().clone()),
        }
    }

    /// How a wanted user stands.
    pub(super) fn known(&self, user: &UserId) -> Known {
        match self.users.get(user).map(|entry| entry.stage) {
            Some(Stage::Joined) => Known::Joined(self.links),
            Some(Stage::Refused) => Known::Refused,
            _ => Known::Pending,
        }
    }

    /// How many users are subscribed, and how many are wanted and wait for it.
    pub(super) fn subscriptions(&self) -> Subscriptions {
        let stages = || self.users.values().filter(|entry| entry.count > 0).map(|entry| entry.stage);
        let confirmed = stages().filter(|stage| *stage == Stage::Joined).count();
        let refused = stages().filter(|stage| *stage == Stage::Refused).count();
        Subscriptions { confirmed, pending: stages().count() - confirmed - refused }
    }

    /// A new link, whose server knows nothing yet: everything wanted is queued.
    pub(super) fn link_up(&mut self) {
        self.linked = true;
        self.links += 1;
        for (user, entry) in &mut self.users {
            enqueue(&mut self.queue, user, entry);
        }
        self.backlog = self.queue.len();
    }

    /// The number of the link, while there is one.
    pub(super) fn link(&self) -> Option<u64> {
        self.linked.then_some(self.links)
    }

    /// The link is gone, and with it all that its server knew. What is wanted stays wanted.
    pub(super) fn link_down(&mut self) {
        self.linked = false;
        self.backlog = 0;
        self.queue.clear();
        self.users.retain(|_, entry| {
            entry.stage = Stage::Absent;
            entry.queued = false;
            entry.count > 0
        });
    }

    /// Takes the next names, at most `limit` of each kind; they are under way from here on.
    pub(super) fn next(&mut self, limit: usize) -> Batch {
        let mut batch = Batch::default();
        while batch.join.len() < limit && batch.leave.len() < limit {
            let Some(user) = self.queue.pop_front() else { break };
            self.backlog = self.backlog.saturating_sub(1);
            let Slot::Occupied(mut slot) = self.users.entry(user) else { continue };
            let entry = slot.get_mut();
            entry.queued = false;
            match (entry.count, entry.stage) {
                (0, Stage::Absent | Stage::Refused) => {
                    slot.remove();
                }
                (0, Stage::Joined) => {
                    entry.stage = Stage::Leaving;
                    batch.leave.push(slot.key().clone());
                }
                (_, Stage::Absent) => {
                    entry.stage = Stage::Joining;
                    batch.join.push(slot.key().clone());
                }
                // Released and wanted again meanwhile: as the server has it.
                (_, Stage::Joined | Stage::Joining | Stage::Leaving | Stage::Refused) => {}
            }
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(KEPT);
        }
        batch
    }

    /// Whether everything that was wanted when the link came up has been taken from the queue.
    pub(super) fn caught_up(&self) -> bool {
        self.linked && self.backlog == 0
    }

    /// Users wanted now.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// The server has confirmed a SUBSCRIBE. Returns whom to wake.
    pub(super) fn joined(&mut self, users: &[UserId]) -> Vec<CancellationToken> {
        self.answered(users, Stage::Joined)
    }

    /// The server has confirmed an UNSUBSCRIBE. Those wanted again meanwhile are queued.
    pub(super) fn left(&mut self, users: &[UserId]) {
        for user in users {
            let Slot::Occupied(mut slot) = self.users.entry(user.clone()) else { continue };
            let entry = slot.get_mut();
            entry.stage = Stage::Absent;
            if entry.count == 0 {
                slot.remove();
            } else {
                enqueue(&mut self.queue, user, entry);
            }
        }
    }

    /// The server has refused a SUBSCRIBE. Returns whom to wake.
    pub(super) fn refused(&mut self, users: &[UserId]) -> Vec<CancellationToken> {
        self.answered(users, Stage::Refused)
    }

    fn answered(&mut self, users: &[UserId], stage: Stage) -> Vec<CancellationToken> {
        let mut wake = Vec::new();
        for user in users {
            let Slot::Occupied(mut slot) = self.users.entry(user.clone()) else { continue };
            let entry = slot.get_mut();
            entry.stage = stage;
            wake.extend(self.waiting.remove(user));
            match (entry.count, stage) {
                (0, Stage::Joined) => {
                    enqueue(&mut self.queue, user, entry);
                }
                (0, _) => {
                    slot.remove();
                }
                _ => {}
            }
        }
        if self.waiting.is_empty() {
            self.waiting.shrink_to(KEPT);
        }
        wake
    }
}

/// Queues a user who is not queued. True when that was so.
fn enqueue(queue: &mut VecDeque<UserId>, user: &UserId, entry: &mut Entry) -> bool {
    let new = !entry.queued;
    if new {
        entry.queued = true;
        queue.push_back(user.clone());
    }
    new
}

#[cfg(test)]
mod tests;
