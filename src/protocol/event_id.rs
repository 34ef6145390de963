use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// A message's position in its user's history: the id of a Redis stream entry, `<milliseconds>-<sequence>`, the first of
/// which is the time at which Redis took the message. Ids of one user's history grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// Milliseconds since 1970, by the clock of whoever keeps the history.
    pub milliseconds: u64,
    /// Counts within the millisecond.
    pub sequence: u64,
}

/// Longest spelling of an [`EventId`], in bytes: two numbers of 64 bits and a hyphen.
pub const MAX_EVENT_ID_BYTES: usize = 41;

/// A text is no [`EventId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form <milliseconds>-<sequence>")]
pub struct EventIdError;

impl EventId {
    /// How long ago the message was taken, by the reader's clock; zero where that is behind the writer's.
    #[must_use]
    pub fn age(self, now: SystemTime) -> Duration {
        let taken = UNIX_EPOCH.checked_add(Duration::from_millis(self.milliseconds));
        taken.and_then(|taken| now.duration_since(taken).ok()).unwrap_or_default()
    }

    /// The next possible id.
    #[must_use]
    pub fn successor(self) -> Self {
        match self.sequence.checked_add(1) {
            Some(sequence) => Self { sequence, ..self },
            None => Self { milliseconds: self.milliseconds.saturating_add(1), sequence: 0 },
        }
    }

    /// The id just before; the least one is its own.
    #[must_use]
    pub fn predecessor(self) -> Self {
        match (self.milliseconds, self.sequence.checked_sub(1)) {
            (_, Some(sequence)) => Self { sequence, ..self },
            (0, None) => self,
            (milliseconds, None) => Self { milliseconds: milliseconds - 1, sequence: u64::MAX },
        }
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    /// Takes the one spelling that [`EventId`] is shown in: no signs, no leading zeros, nothing around it.
    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let (milliseconds, sequence) = text.split_once('-').ok_or(EventIdError)?;
        Ok(Self { milliseconds: number(milliseconds)?, sequence: number(sequence)? })
    }
}

fn number(text: &str) -> Result<u64, EventIdError> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().map_err(|_| EventIdError) } else { Err(EventIdError) }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(milliseconds: u64, sequence: u64) -> EventId {
        EventId { milliseconds, sequence }
    }

    #[test]
    fn has_one_spelling() {
        assert_eq!("1732300000000-7".parse(), Ok(id(1_732_300_000_000, 7)));
        assert_eq!("0-0".parse(), Ok(id(0, 0)));
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "1-2-3",
            "+1-2",
            "01-2",
            "1-02",
            " 1-2",
            "1-2 ",
            "1.2",
            "a-b",
            "1-2\n",
            "18446744073709551616-0",
            "0-18446744073709551616",
            "٣-٤",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(EventIdError), "{text:?}");
        }
    }

    #[test]
    fn its_age_is_never_negative() {
        let now = UNIX_EPOCH + Duration::from_millis(5_000);
        assert_eq!(id(4_750, 9).age(now), Duration::from_millis(250));
        assert_eq!(id(5_001, 0).age(now), Duration::ZERO);
        assert_eq!(id(u64::MAX, 0).age(now), Duration::ZERO);
    }

    #[test]
    fn neighbours_carry_over() {
        assert_eq!(id(5, u64::MAX).successor(), id(6, 0));
        assert_eq!(id(6, 0).predecessor(), id(5, u64::MAX));
        assert_eq!(id(0, 0).predecessor(), id(0, 0));
    }

    proptest! {
        #[test]
        fn reads_what_it_shows_and_orders_like_redis(a: (u64, u64), b: (u64, u64)) {
            let (first, second) = (id(a.0, a.1), id(b.0, b.1));
            prop_assert_eq!(first.to_string().parse(), Ok(first));
            prop_assert!(first.to_string().len() <= MAX_EVENT_ID_BYTES);
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            if first != id(u64::MAX, u64::MAX) {
                prop_assert!(first.successor() > first);
                prop_assert_eq!(first.successor().predecessor(), first);
            }
        }

        #[test]
        fn reads_nothing_else(text in "\\PC{0,50}") {
            if let Ok(read) = text.parse::<EventId>() {
                prop_assert_eq!(read.to_string(), text);
            }
        }
    }
}
