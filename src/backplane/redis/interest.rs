//! Who is wanted, and what the server has been told of it: a state machine without I/O.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// The server may have it although the stage says that it has to be told: the user went to another server and came back.
    lingers: bool,
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
    /// Numbers of links, which no two have in common; shared with the tables of other servers.
    links: Arc<AtomicU64>,
    /// The number of the present link, or of the last one.
    link: u64,
    /// How many at the head of the queue were wanted when the link came up, or were taken over since.
    backlog: usize,
    /// It is still to be said that they are subscribed.
    unsaid: bool,
    /// Users of whom the server knows and who are another server's by now.
    strays: Vec<UserId>,
}

impl Interest {
    /// An empty table that takes its links' numbers from there.
    pub(super) fn new(links: Arc<AtomicU64>) -> Self {
        Self { links, ..Self::default() }
    }

    /// One more connection wants the user's messages. True when the server has to be told.
    pub(super) fn want(&mut self, user: &UserId) -> bool {
        let entry = self.users.entry(user.clone()).or_default();
        entry.count += 1;
        // Strays are few, and there are some for as long as it takes to tell the server.
        if let Some(place) = self.strays.iter().position(|stray| stray == user) {
            self.strays.swap_remove(place);
            entry.lingers = true;
        }
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
            Some(Stage::Joined) => Known::Joined(self.link),
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
        for (user, entry) in &mut self.users {
            enqueue(&mut self.queue, user, entry);
        }
        self.owe();
    }

    /// What is wanted now is to be subscribed, and that to be said.
    fn owe(&mut self) {
        self.link = self.links.fetch_add(1, Ordering::Relaxed) + 1;
        self.backlog = self.queue.len();
        self.unsaid = true;
    }

    /// The number of the link, while there is one.
    pub(super) fn link(&self) -> Option<u64> {
        self.linked.then_some(self.link)
    }

    /// Takes out the users that are another server's by now, with how many want each, and wakes who waits for them.
    pub(super) fn part(
        &mut self,
        is_other: impl Fn(&UserId) -> bool,
    ) -> (Vec<(UserId, u32)>, Vec<CancellationToken>) {
        let (mut parted, mut wake) = (Vec::new(), Vec::new());
        for (user, entry) in self.users.extract_if(|user, _| is_other(user)) {
            wake.extend(self.waiting.remove(&user));
            if entry.lingers || matches!(entry.stage, Stage::Joining | Stage::Joined | Stage::Leaving) {
                self.strays.push(user.clone());
            }
            if entry.count > 0 {
                parted.push((user, entry.count));
            }
        }
        self.queue.retain(|user| self.users.contains_key(user));
        self.backlog = self.backlog.min(self.queue.len());
        (parted, wake)
    }

    /// Takes users over from another server's table.
    pub(super) fn take_over(&mut self, users: Vec<(UserId, u32)>) {
        if users.is_empty() {
            return;
        }
        let mut strays: HashSet<UserId> = self.strays.drain(..).collect();
        for (user, count) in users {
            let entry = self.users.entry(user.clone()).or_default();
            entry.count += count;
            entry.lingers |= strays.remove(&user);
            if self.linked && entry.stage == Stage::Absent {
                enqueue(&mut self.queue, &user, entry);
            }
        }
        self.strays.extend(strays);
        if self.linked {
            self.owe();
        }
    }

    /// The server has not got these users' slots, whatever was thought: they are asked for again, unless they are parted
    /// with before.
    pub(super) fn put_off(&mut self, users: &[UserId]) {
        for user in users {
            let Some(entry) = self.users.get_mut(user) else { continue };
            entry.stage = Stage::Absent;
            // The plain channel may have been taken all the same, for any server takes that.
            entry.lingers = true;
            enqueue(&mut self.queue, user, entry);
            self.backlog = if self.unsaid { self.queue.len() } else { self.backlog };
        }
    }

    /// The link is gone, and with it all that its server knew. What is wanted stays wanted.
    pub(super) fn link_down(&mut self) {
        self.linked = false;
        self.backlog = 0;
        self.queue.clear();
        self.strays.clear();
        self.users.retain(|_, entry| {
            entry.stage = Stage::Absent;
            entry.queued = false;
            entry.lingers = false;
            entry.count > 0
        });
    }

    /// Takes the next names, at most `limit` of each kind; they are under way from here on.
    pub(super) fn next(&mut self, limit: usize) -> Batch {
        let mut batch = Batch::default();
        let strays = self.strays.len().min(limit);
        batch.leave.extend(self.strays.drain(..strays));
        while batch.join.len() < limit && batch.leave.len() < limit {
            let Some(user) = self.queue.pop_front() else { break };
            self.backlog = self.backlog.saturating_sub(1);
            let Slot::Occupied(mut slot) = self.users.entry(user) else { continue };
            let entry = slot.get_mut();
            entry.queued = false;
            match (entry.count, entry.stage) {
                (0, Stage::Absent | Stage::Refused) if !entry.lingers => {
                    slot.remove();
                }
                (0, Stage::Absent | Stage::Refused | Stage::Joined) => {
                    entry.lingers = false;
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

    /// Whether everything that was wanted when the link came up, or was taken over since, has been taken from the queue.
    pub(super) fn caught_up(&self) -> bool {
        self.linked && self.backlog == 0
    }

    /// The same, once each time.
    pub(super) fn is_to_be_said(&mut self) -> bool {
        let due = self.unsaid && self.caught_up();
        self.unsaid &= !due;
        due
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
            entry.lingers = false;
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
