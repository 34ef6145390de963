//! Where a client is in its messages, and which of them it has had.

use std::collections::VecDeque;

/// Ids that are remembered at least. A replay after a gap is as long as the server's history, which is 100 by default.
const WINDOW: usize = 1_024;

/// Ids that are remembered at most, where the server says that its history is longer.
const MAX_WINDOW: usize = 65_536;

/// Longest id that is kept, in bytes. It travels in a header.
const MAX_ID_BYTES: usize = 128;

/// An id: the numbers of a stream's `ms-seq`, or a text that is compared as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    Numbers(u64, u64),
    Text(Box<str>),
}

impl Id {
    fn parse(text: &str) -> Self {
        let numbers = text.split_once('-').and_then(|(ms, seq)| Some((ms.parse().ok()?, seq.parse().ok()?)));
        match numbers {
            Some((ms, seq)) => Self::Numbers(ms, seq),
            None => Self::Text(text.into()),
        }
    }
}

/// The position and the window of ids that were delivered.
///
/// A set and not a highest id: a server that was wiped, or whose clock stepped back, begins again with lower ids, and those
/// messages are new.
#[derive(Debug)]
pub(super) struct Cursor {
    position: Option<String>,
    /// In the order of their arrival.
    delivered: VecDeque<Id>,
    /// No remembered id is above this: what is needs no search.
    highest: (u64, u64),
    window: usize,
}

impl Cursor {
    pub(super) fn new(position: Option<String>) -> Self {
        let mut cursor = Self { position: None, delivered: VecDeque::new(), highest: (0, 0), window: WINDOW };
        if let Some(id) = position {
            cursor.moved(&id);
            // Its message was delivered in an earlier life.
            cursor.fresh(&id);
        }
        cursor
    }

    /// What to resume after.
    pub(super) fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// A connection opened at this position, with so long a history.
    pub(super) fn opened(&mut self, position: Option<&str>, history: Option<usize>) {
        if let Some(id) = position {
            self.moved(id);
        }
        self.window = history.unwrap_or_default().clamp(WINDOW, MAX_WINDOW);
    }

    /// A message arrived; whether to deliver it.
    pub(super) fn arrived(&mut self, id: &str) -> bool {
        self.moved(id);
        self.fresh(id)
    }

    fn moved(&mut self, id: &str) {
        // What a header cannot carry is no use; the one before it still is.
        if (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
            let position = self.position.get_or_insert_default();
            position.clear();
            position.push_str(id);
        }
    }

    fn fresh(&mut self, id: &str) -> bool {
        let id = Id::parse(id);
        let above = match id {
            Id::Numbers(ms, seq) if (ms, seq) > self.highest => {
                self.highest = (ms, seq);
                true
            }
            _ => false,
        };
        if !above && self.delivered.contains(&id) {
            return false;
        }
        while self.delivered.len() >= self.window {
            self.delivered.pop_front();
        }
        self.delivered.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_position_is_what_came_last() {
        let mut cursor = Cursor::new(None);
        assert_eq!(cursor.position(), None);
        cursor.opened(Some("5-0"), None);
        assert_eq!(cursor.position(), Some("5-0"));
        assert!(cursor.arrived("6-0") && cursor.arrived("7-0"));
        assert!(!cursor.arrived("6-0"), "delivered already");
        assert_eq!(cursor.position(), Some("6-0"), "received all the same");
        cursor.opened(None, None);
        assert_eq!(cursor.position(), Some("6-0"), "a server without history takes nothing away");
        assert!(cursor.arrived("8\n"), "no header can carry it");
        assert_eq!(cursor.position(), Some("6-0"));
    }

    #[test]
    fn the_message_of_a_kept_cursor_was_delivered_before() {
        let mut cursor = Cursor::new(Some("5-0".to_owned()));
        assert!(!cursor.arrived("5-0") && cursor.arrived("4-0"));
        let mut opened = Cursor::new(None);
        opened.opened(Some("5-0"), None);
        assert!(opened.arrived("5-0"), "a position that the server told is no message that was had");
    }

    #[test]
    fn the_window_is_bounded_and_grows_with_the_servers_history() {
        let held = |history| {
            let mut cursor = Cursor::new(None);
            cursor.opened(None, history);
            let all = (1..=100_000).all(|ms| cursor.arrived(&format!("{ms}-0")));
            assert!(all, "each is new");
            cursor.delivered.len()
        };
        assert_eq!([None, Some(100), Some(5_000), Some(usize::MAX)].map(held), [1_024, 1_024, 5_000, 65_536]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// So many new messages.
        New(u8),
        /// The last so many again.
        Again(u8),
        /// The server lost its last so many ids to a failover and goes on from there.
        Back(u8),
        /// The server was wiped, and begins with ids that were never used.
        Wiped,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            any::<u8>().prop_map(Step::New),
            any::<u8>().prop_map(Step::Again),
            (0..50u8).prop_map(Step::Back),
            Just(Step::Wiped),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        /// Against a set without a bound: what is repeated within the window is dropped, all else is delivered.
        #[test]
        fn nothing_is_delivered_twice_and_nothing_new_is_dropped(steps in steps(), numbers in any::<bool>()) {
            let name = |(ms, seq): (u64, u64)| if numbers { format!("{ms}-{seq}") } else { format!("id{ms}.{seq}") };
            let (mut cursor, mut seen, mut sent) = (Cursor::new(None), HashSet::new(), Vec::new());
            let (mut ms, mut epoch) = (1_000_000, 0);
            for step in steps {
                let burst: Vec<_> = match step {
                    Step::New(count) => (0..u64::from(count)).map(|n| (ms + n, epoch)).collect(),
                    Step::Again(count) => sent[sent.len().saturating_sub(usize::from(count))..].to_vec(),
                    Step::Back(count) => {
                        // Below what was seen, and the sequence tells them apart from what was there.
                        (ms, epoch) = (ms - u64::from(count), epoch + 1);
                        Vec::new()
                    }
                    Step::Wiped => {
                        (ms, epoch) = (ms / 2 + 10_000, epoch + 1);
                        Vec::new()
                    }
                };
                for id in burst {
                    if !matches!(step, Step::Again(_)) {
                        ms = ms.max(id.0 + 1);
                        sent.push(id);
                    }
                    let text = name(id);
                    prop_assert_eq!(cursor.arrived(&text), seen.insert(id));
                    prop_assert_eq!(cursor.position(), Some(text.as_str()));
                }
                prop_assert!(cursor.delivered.len() <= WINDOW);
            }
        }
    }
}
