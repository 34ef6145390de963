//! The table of users as connections and the link's worker share it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

pub(super) use super::interest::Known;
use super::interest::{Batch, Interest, Standing};
use crate::backplane::{BackplaneError, Release, Subscription, Subscriptions};
use crate::protocol::UserId;

/// One lock: each step under it takes tens of nanoseconds, and only connects and disconnects come here. A message's
/// way does not.
#[derive(Debug, Default)]
pub(super) struct Table {
    interest: Mutex<Interest>,
    changed: Notify,
}

impl Table {
    /// Takes interest in a user; dropping what is returned gives it back.
    pub(super) fn want(self: &Arc<Self>, user: UserId) -> Subscription {
        if self.interest.lock().want(&user) {
            self.changed.notify_one();
        }
        Subscription::new(user, 0, Arc::clone(self) as Arc<dyn Release>)
    }

    /// Resolves once a wanted user is subscribed, with the number of the link that confirmed it. The state is looked at anew after each wake, so that a link that is
    /// lost between the confirmation and the wake makes the waiter wait on.
    pub(super) async fn joined(&self, user: &UserId) -> Result<u64, BackplaneError> {
        loop {
            let settled = match self.interest.lock().standing(user) {
                Standing::Joined(link) => return Ok(link),
                Standing::Refused => {
                    return Err(BackplaneError::Refused("no permission for the user's channel".to_owned()));
                }
                Standing::Pending(settled) => settled,
            };
            settled.cancelled().await;
        }
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

    /// Whether all that was wanted when the link came up has been sent.
    pub(super) fn caught_up(&self) -> bool {
        self.interest.lock().caught_up()
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

impl Release for Table {
    fn release(&self, user: &UserId) {
        if self.interest.lock().release(user) {
            self.changed.notify_one();
        }
    }
}
