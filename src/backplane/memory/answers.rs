//! What was answered under an idempotency key, so that a repetition is answered the same.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::backplane::Published;
use crate::history::REMEMBERED;
use crate::protocol::{IdempotencyKey, UserId};

/// Most keys that are remembered at a time. A key takes up to half a kilobyte, so this is 50 MB at worst; at 333 keyed
/// publications a second for five minutes it is reached.
const MOST: usize = 100_000;

type Name = (UserId, IdempotencyKey);

/// Answers of the last five minutes.
#[derive(Debug, Default)]
pub(super) struct Answers {
    known: HashMap<Arc<Name>, Published>,
    /// In the order in which they are forgotten, which is the order in which they came.
    queue: VecDeque<(Instant, Arc<Name>)>,
}

impl Answers {
    /// Whether so many keys more can be remembered.
    pub(super) fn have_room_for(&mut self, keys: usize) -> bool {
        self.forget();
        self.known.len() + keys <= MOST
    }

    /// The first answer to this key.
    pub(super) fn get(&mut self, user: &UserId, key: &IdempotencyKey) -> Option<Published> {
        self.forget();
        self.known.get(&(user.clone(), key.clone())).copied()
    }

    pub(super) fn insert(&mut self, user: &UserId, key: &IdempotencyKey, answer: Published) {
        let name = Arc::new((user.clone(), key.clone()));
        self.queue.push_back((Instant::now() + REMEMBERED, Arc::clone(&name)));
        self.known.insert(name, answer);
    }

    fn forget(&mut self) {
        let now = Instant::now();
        while let Some((until, _)) = self.queue.front()
            && *until <= now
        {
            if let Some((_, name)) = self.queue.pop_front() {
                self.known.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Published = Published { id: None, subscribers: 3 };

    fn name(user: &str, key: &str) -> Name {
        (UserId::new(user).expect("an id"), IdempotencyKey::new(key.as_bytes()).expect("a key"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_its_user_s_for_five_minutes() {
        let mut answers = Answers::default();
        let (ann, key) = name("ann", "k");
        answers.insert(&ann, &key, ANSWER);
        tokio::time::advance(REMEMBERED - std::time::Duration::from_millis(1)).await;
        assert_eq!(answers.get(&ann, &key), Some(ANSWER));
        assert_eq!(answers.get(&name("bob", "k").0, &key), None);
        assert_eq!(answers.get(&ann, &name("ann", "l").1), None);
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        assert_eq!(answers.get(&ann, &key), None);
        assert!(answers.known.is_empty() && answers.queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many() {
        let mut answers = Answers::default();
        for number in 0..MOST {
            assert!(answers.have_room_for(1));
            let (user, key) = name("ann", &number.to_string());
            answers.insert(&user, &key, ANSWER);
        }
        assert!(answers.have_room_for(0) && !answers.have_room_for(1));
        tokio::time::advance(REMEMBERED).await;
        assert!(answers.have_room_for(MOST));
    }
}
