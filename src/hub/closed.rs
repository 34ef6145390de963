use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use lru::LruCache;
use parking_lot::Mutex;

use crate::metrics::ClosedWith;
use crate::protocol::{ConnectionId, UserId};
use crate::session::Ended;

/// Users whose last close is remembered: enough to ask about somebody who has just complained, on a pod that closes ten
/// connections a second for a minute and a half. An entry takes some 200 bytes and the user id, so that all of them take
/// 0.5 MB at most, with ids of 256 bytes.
const USERS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The connection.
    pub id: ConnectionId,
    /// The code that metrics and logs show.
    pub with: ClosedWith,
    /// Why, for a person.
    pub reason: Cow<'static, str>,
    /// When.
    pub at: SystemTime,
    /// How long it was open.
    pub lasted: Duration,
}

impl Closed {
    /// The connection has ended now.
    #[must_use]
    pub fn now(id: ConnectionId, ended: &Ended, lasted: Duration) -> Self {
        let said = ended.close.as_ref().map(|close| &close.message).filter(|message| !message.is_empty());
        let reason = match (said, ended.with) {
            (Some(message), _) => message.clone(),
            (None, ClosedWith::Code(code)) => Cow::Borrowed(code.row().when),
            (None, ClosedWith::Lost) => Cow::Borrowed("lost without a close frame"),
        };
        Self { id, with: ended.with, reason, at: SystemTime::now(), lasted }
    }
}

/// How each user's last connection ended, of the users that lost one last.
///
/// The lock is held for one look-up.
#[derive(Debug)]
pub(super) struct LastCloses(Mutex<LruCache<UserId, Closed>>);

impl Default for LastCloses {
    fn default() -> Self {
        // Allocates nothing before the first close.
        let mut users = LruCache::unbounded();
        users.resize(USERS);
        Self(Mutex::new(users))
    }
}

impl LastCloses {
    /// Takes note of a close; the user whose last one is the longest ago makes room.
    pub(super) fn note(&self, user: &UserId, closed: Closed) {
        let replaced = self.0.lock().push(user.clone(), closed);
        // Freed outside the lock.
        drop(replaced);
    }

    /// The user's last close, as far as it is remembered.
    pub(super) fn of(&self, user: &str) -> Option<Closed> {
        self.0.lock().peek(user).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Close, CloseCode, ErrorCode};

    fn user(number: usize) -> UserId {
        UserId::new(&number.to_string()).expect("a valid id")
    }

    fn closed(ended: &Ended) -> Closed {
        Closed::now(ConnectionId::random(), ended, Duration::from_secs(7))
    }

    fn lost() -> Closed {
        closed(&Ended { with: ClosedWith::Lost, close: None })
    }

    #[test]
    fn every_end_has_a_reason() {
        let close = Close::of(ErrorCode::Authentication, "Token has expired");
        let by_us = Ended { with: ClosedWith::Code(close.code), close: Some(close) };
        assert_eq!(closed(&by_us).reason, "Token has expired");
        let by_the_client = Ended { with: ClosedWith::Code(CloseCode::Normal), close: None };
        assert_eq!(closed(&by_the_client).reason, "the client closed");
        let without_a_word =
            Ended { with: ClosedWith::Code(CloseCode::Normal), close: Some(Close::normal()) };
        assert_eq!(closed(&without_a_word).reason, "the client closed");
        assert_eq!(lost().reason, "lost without a close frame");
    }

    #[test]
    fn the_users_whose_close_is_the_longest_ago_are_forgotten() {
        let closes = LastCloses::default();
        for number in 0..USERS.get() {
            closes.note(&user(number), lost());
        }
        let again = lost();
        closes.note(&user(0), again.clone());
        // Whoever asks keeps nobody in memory.
        assert!(closes.of("1").is_some());
        closes.note(&user(USERS.get()), lost());
        assert_eq!(closes.of("0"), Some(again), "the last one counts");
        assert_eq!(closes.of("1"), None);
        assert!(closes.of("2").is_some());
        assert_eq!(closes.0.lock().len(), USERS.get());
    }
}
