//! The table of users as connections and the link's worker share it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::interest::{Batch, Interest};
pub(super) use super::interest::{Known, Standing};
use crate::backplane::Subscriptions;
use crate::protocol::UserId;

/// One lock: each step under it takes tens of nanoseconds, and only connects and disconnects come here. A message's
/// way does not.
#[derive(Debug, Default)]
pub(super) struct Table {
    interest: Mutex<Interest>,
    changed: Notify,
}

impl Table {
    /// An empty table; its links' numbers come from `links`.
    pub(super) fn new(links: Arc<AtomicU64>) -> Self {
        Self { interest: Mutex::new(Interest::new(links)), changed: Notify::new() }
    }

    /// One more connection wants the user's messages.
    pub(super) fn want(&self, user: &UserId) {
        if self.interest.lock().want(user) {
            self.changed.notify_one();
        }
    }

    /// One connection less.
    pub(super) fn release(&self, user: &UserId) {
        if self.interest.lock().release(user) {
            self.changed.notify_one();
        }
    }

    /// How a wanted user stands, for one who waits.
    pub(super) fn standing(&self, user: &UserId) -> Standing {
        self.interest.lock().standing(user)
    }

    /// How a wanted user stands now, for one who does not wait.
    pub(super) fn known(&self, user: &UserId) -> Known {
        self.interest.lock().known(user)
    }

    /// How many users are subscribed, and how many wait for it. Walks over all of them: a tenth of a millisecond for ten
    /// thousand.
    pub(super) fn subscriptions(&self) -> Subscriptions {
        self.interest.lock().subscriptions()
    }

    pub(super) fn link_up(&self) {
        self.interest.lock().link_up();
    }

    pub(super) fn link_down(&self) {
        self.interest.lock().link_down();
    }

    /// The number of the link there is now.
    pub(super) fn link(&self) -> Option<u64> {
        self.interest.lock().link()
    }

    /// The next names to send.
    pub(super) fn next(&self, limit: usize) -> Batch {
        self.interest.lock().next(limit)
    }

    /// Resolves when there may be something to send.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether all that was wanted when the link came up, or was taken over since, has been sent; true once each time.
    pub(super) fn is_to_be_said(&self) -> bool {
        self.interest.lock().is_to_be_said()
    }

    /// Takes out the users that are another server's by now.
    pub(super) fn part(&self, is_other: impl Fn(&UserId) -> bool) -> Vec<(UserId, u32)> {
        let (parted, wake) = self.interest.lock().part(is_other);
        for settled in wake {
            settled.cancel();
        }
        self.changed.notify_one();
        parted
    }

    /// Takes users over from another server's table.
    pub(super) fn take_over(&self, users: Vec<(UserId, u32)>) {
        self.interest.lock().take_over(users);
        self.changed.notify_one();
    }

    /// These are asked for again.
    pub(super) fn put_off(&self, users: &[UserId]) {
        self.interest.lock().put_off(users);
    }

    /// Users wanted now.
    pub(super) fn len(&self) -> usize {
        self.interest.lock().len()
    }

    // Waking runs other code's wakers, so it is done outside the lock.

    pub(super) fn confirm_joined(&self, users: &[UserId]) {
        let wake = self.interest.lock().joined(users);
        for settled in wake {
            settled.cancel();
        }
    }

    pub(super) fn confirm_left(&self, users: &[UserId]) {
        self.interest.lock().left(users);
    }

    pub(super) fn refuse(&self, users: &[UserId]) {
        let wake = self.interest.lock().refused(users);
        for settled in wake {
            settled.cancel();
        }
    }
}
