//! The backplane of a single pod: published here, heard here.

mod answers;
mod revocations;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

pub use self::revocations::MemoryRevocations;

use self::answers::Answers;
use super::{
    Arrival, Backplane, BackplaneError, Published, Release, Sink, Status, Subscription, Subscriptions,
};
use crate::history::memory::Rings;
use crate::protocol::{Publication, UserId};

/// Messages from this process to this process. Always [`Status::Up`]; never waits, and fails only when it has too many
/// idempotency keys to remember.
pub struct MemoryBackplane {
    sink: Arc<dyn Sink>,
    table: Arc<Table>,
    history: Option<Arc<Rings>>,
    /// Locked from the look-up of a key to its answer, so that two at once are not both the first.
    answers: Mutex<Answers>,
}

/// Connections of each user, for those that have any.
#[derive(Default)]
struct Table(Mutex<HashMap<UserId, u32>>);

impl MemoryBackplane {
    /// A backplane that hands to `sink` what is published to it, and keeps it in `history` where there is one.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>, history: Option<Arc<Rings>>) -> Self {
        Self { sink, table: Arc::default(), history, answers: Mutex::default() }
    }

    /// All of them, or none. Fails only when there are too many keys to remember.
    fn publish_many(&self, messages: &[(UserId, Publication)]) -> Result<Vec<Published>, BackplaneError> {
        let mut answers = self.answers.lock();
        let keys = messages.iter().filter(|(user, publication)| {
            publication.idempotency_key.as_ref().is_some_and(|key| answers.get(user, key).is_none())
        });
        let new = keys.count();
        if new > 0 && !answers.have_room_for(new) {
            return Err(BackplaneError::Unavailable);
        }
        let published = messages.iter().map(|(user, publication)| {
            let Some(key) = &publication.idempotency_key else { return self.deliver(user, publication) };
            answers.get(user, key).unwrap_or_else(|| {
                let published = self.deliver(user, publication);
                answers.insert(user, key, published);
                published
            })
        });
        Ok(published.collect())
    }

    fn deliver(&self, user: &UserId, publication: &Publication) -> Published {
        let Some(rings) = &self.history else {
            let bare = || Arrival::Bare(publication.payload.clone().into());
            return Published { id: None, subscribers: self.hand_on(user, bare) };
        };
        let (id, subscribers) =
            rings.append(user, publication, |record| self.hand_on(user, || Arrival::Kept(record.clone())));
        Published { id: Some(id), subscribers }
    }

    /// Returns how many pods hear it: this one, or none.
    fn hand_on(&self, user: &UserId, arrival: impl FnOnce() -> Arrival) -> u64 {
        let wanted = self.table.0.lock().contains_key(user);
        if wanted {
            self.sink.deliver(user.as_str(), arrival());
        }
        u64::from(wanted)
    }
}

impl fmt::Debug for MemoryBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackplane").finish_non_exhaustive()
    }
}

impl Release for Table {
    fn release(&self, user: &UserId) {
        if let Entry::Occupied(mut count) = self.0.lock().entry(user.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Backplane for MemoryBackplane {
    fn subscribe(&self, user: UserId) -> BoxFuture<'_, Result<Subscription, BackplaneError>> {
        Box::pin(async move {
            *self.table.0.lock().entry(user.clone()).or_insert(0) += 1;
            Ok(Subscription::new(user, 0, Arc::clone(&self.table) as Arc<dyn Release>))
        })
    }

    fn publish(
        &self,
        user: UserId,
        publication: Publication,
    ) -> BoxFuture<'_, Result<Published, BackplaneError>> {
        Box::pin(async move {
            if publication.idempotency_key.is_none() {
                return Ok(self.deliver(&user, &publication));
            }
            let published = self.publish_many(&[(user, publication)])?;
            published.first().copied().ok_or(BackplaneError::Unavailable)
        })
    }

    fn publish_all(
        &self,
        messages: Vec<(UserId, Publication)>,
    ) -> BoxFuture<'_, Result<Vec<Published>, BackplaneError>> {
        Box::pin(async move { self.publish_many(&messages) })
    }

    fn unbroken(&self, _subscription: &Subscription) -> bool {
        true
    }

    fn status(&self) -> Status {
        Status::Up
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions { confirmed: self.table.0.lock().len(), pending: 0 }
    }

    fn canary_age(&self) -> Option<Duration> {
        None
    }

    fn deaf_alone(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
