//! The backplane of a single pod: published here, heard here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Backplane, BackplaneError, BoxFuture, Published, Release, Sink, Status, Subscription};
use crate::protocol::{Payload, UserId};

/// Messages from this process to this process. Always [`Status::Up`]; never waits, never fails.
pub struct MemoryBackplane {
    sink: Arc<dyn Sink>,
    table: Arc<Table>,
}

/// Connections of each user, for those that have any.
#[derive(Default)]
struct Table(Mutex<HashMap<UserId, u32>>);

impl MemoryBackplane {
    /// A backplane that hands to `sink` what is published to it.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, table: Arc::default() }
    }

    fn deliver(&self, user: &UserId, payload: Payload) -> Published {
        let wanted = self.table.0.lock().contains_key(user);
        if wanted {
            self.sink.deliver(user.as_str(), Bytes::from(payload).into());
        }
        Published { id: None, subscribers: u64::from(wanted) }
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
            Ok(Subscription::new(user, Arc::clone(&self.table) as Arc<dyn Release>))
        })
    }

    fn publish(&self, user: UserId, payload: Payload) -> BoxFuture<'_, Result<Published, BackplaneError>> {
        Box::pin(async move { Ok(self.deliver(&user, payload)) })
    }

    fn publish_all(
        &self,
        messages: Vec<(UserId, Payload)>,
    ) -> BoxFuture<'_, Result<Vec<Published>, BackplaneError>> {
        Box::pin(async move {
            Ok(messages.into_iter().map(|(user, payload)| self.deliver(&user, payload)).collect())
        })
    }

    fn status(&self) -> Status {
        Status::Up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<(String, Vec<u8>)>>);

    impl Sink for Seen {
        fn deliver(&self, user: &str, payload: Vec<u8>) {
            self.0.lock().push((user.to_owned(), payload));
        }

        fn gap(&self) {}
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).expect("a valid id")
    }

    #[tokio::test]
    async fn delivers_while_somebody_is_interested() {
        let seen = Arc::new(Seen::default());
        let backplane = MemoryBackplane::new(Arc::clone(&seen) as Arc<dyn Sink>);
        let publish = async |text: &str| {
            backplane.publish(user("ann"), text.into()).await.map(|published| published.subscribers)
        };

        assert_eq!(publish("nobody").await, Ok(0));
        let first = backplane.subscribe(user("ann")).await.expect("never fails");
        let second = backplane.subscribe(user("ann")).await.expect("never fails");
        assert_eq!(publish("both").await, Ok(1), "counted by pod, not by connection");
        drop(first);
        assert_eq!(publish("second").await, Ok(1));
        drop(second);
        assert_eq!(publish("gone").await, Ok(0));

        let expected: Vec<(String, Vec<u8>)> =
            ["both", "second"].map(|text| ("ann".to_owned(), text.as_bytes().to_vec())).into();
        assert_eq!(*seen.0.lock(), expected);
        assert!(backplane.table.0.lock().is_empty(), "a user without connections costs nothing");
    }

    #[tokio::test]
    async fn publishes_many_in_order() {
        let seen = Arc::new(Seen::default());
        let backplane = MemoryBackplane::new(Arc::clone(&seen) as Arc<dyn Sink>);
        let _ann = backplane.subscribe(user("ann")).await.expect("never fails");
        let messages = vec![(user("ann"), "1".into()), (user("bob"), "2".into()), (user("ann"), "3".into())];
        let published = backplane.publish_all(messages).await.expect("never fails");
        assert_eq!(published.iter().map(|one| one.subscribers).collect::<Vec<_>>(), [1, 0, 1]);
        let payloads: Vec<Vec<u8>> = seen.0.lock().iter().map(|(_, payload)| payload.clone()).collect();
        assert_eq!(payloads, [b"1".to_vec(), b"3".to_vec()]);
    }
}
