//! What was published for each user, and what each connection got of it.

use crate::bench::deliver::report::LostSample;

/// Lost messages that the report names.
const SAMPLE: usize = 10;

/// A set of numbers that are dense.
#[derive(Debug, Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    /// Whether it is new.
    fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = Self::place(number);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    /// Those from `first` on, 64 at a time, each with the number of its lowest bit.
    fn words(&self, first: u32) -> impl Iterator<Item = (u32, u64)> {
        let (start, bit) = Self::place(first);
        let from = move |word| if word == start { !(bit - 1) } else { u64::MAX };
        let words = self.0.iter().enumerate().skip(start);
        (0..).step_by(64).skip(start).zip(words).map(move |(base, (word, bits))| (base, bits & from(word)))
    }

    fn place(number: u32) -> (usize, u64) {
        ((number / 64) as usize, 1 << (number % 64))
    }
}

#[derive(Debug, Default)]
struct Sent {
    /// The last number that was begun; the first is 1.
    begun: u32,
    accepted: Numbers,
    /// Connections that have opened.
    listeners: u64,
}

#[derive(Debug, Default)]
struct Got {
    user: u32,
    /// The first number that it must get: one begun after it first opened.
    first: Option<u32>,
    numbers: Numbers,
    highest: u32,
}

/// How a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    InOrder,
    /// For the first time, after one with a higher number.
    Disorder,
    Twice,
    /// Of a number that was never sent.
    Foreign,
}

/// All users and connections of a run, by number.
#[derive(Debug)]
pub(super) struct Ledger {
    users: Vec<Sent>,
    connections: Vec<Got>,
}

impl Ledger {
    /// `connections` has each one's user.
    pub(super) fn new(users: u32, connections: &[u32]) -> Self {
        let got = |user: &u32| Got { user: *user, ..Got::default() };
        Self {
            users: (0..users).map(|_| Sent::default()).collect(),
            connections: connections.iter().map(got).collect(),
        }
    }

    /// The number of a message that is about to be published.
    pub(super) fn begin(&mut self, user: u32) -> u32 {
        let sent = &mut self.users[user as usize];
        sent.begun += 1;
        sent.begun
    }

    /// Its publication was answered.
    pub(super) fn accepted(&mut self, user: u32, number: u32) {
        self.users[user as usize].accepted.insert(number);
    }

    /// A connection is open; whether for the first time.
    pub(super) fn opened(&mut self, connection: usize) -> bool {
        let got = &mut self.connections[connection];
        let first = got.first.is_none();
        self.users[got.user as usize].listeners += u64::from(first);
        // One that is on its way may have passed before the channel was subscribed.
        got.first.get_or_insert(self.users[got.user as usize].begun + 1);
        first
    }

    /// Connections that are to get a user's next message.
    pub(super) fn listeners(&self, user: u32) -> u64 {
        self.users[user as usize].listeners
    }

    /// A message arrived.
    pub(super) fn arrived(&mut self, connection: usize, number: u32) -> Arrival {
        let got = &mut self.connections[connection];
        if number == 0 || number > self.users[got.user as usize].begun {
            return Arrival::Foreign;
        }
        if !got.numbers.insert(number) {
            return Arrival::Twice;
        }
        if number < got.highest {
            return Arrival::Disorder;
        }
        got.highest = number;
        Arrival::InOrder
    }

    /// Connections that never opened.
    pub(super) fn never_opened(&self) -> usize {
        self.connections.iter().filter(|got| got.first.is_none()).count()
    }

    /// Pairs of a message and a connection that was to get it; those where it has not arrived; the first of the latter.
    pub(super) fn balance(&self) -> (u64, u64, Vec<LostSample>) {
        let (mut expected, mut missing, mut sample) = (0, 0, Vec::new());
        for (connection, got) in self.connections.iter().enumerate() {
            let Some(first) = got.first else { continue };
            // A run of an hour has millions, and is asked every second.
            for (base, due) in self.users[got.user as usize].accepted.words(first) {
                let had = got.numbers.0.get(base as usize / 64).copied().unwrap_or_default();
                let gone = due & !had;
                expected += u64::from(due.count_ones());
                missing += u64::from(gone.count_ones());
                let numbers = (0..64).filter(|bit| gone >> bit & 1 == 1).map(|bit| base + bit);
                let lost = numbers.map(|number| LostSample { user: got.user, connection, number });
                sample.extend(lost.take(SAMPLE - sample.len()));
            }
        }
        (expected, missing, sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(ledger: &mut Ledger, user: u32) -> u32 {
        let number = ledger.begin(user);
        ledger.accepted(user, number);
        number
    }

    #[test]
    fn only_what_was_begun_after_the_first_open_and_accepted_is_expected() {
        let mut ledger = Ledger::new(2, &[0, 1, 0]);
        published(&mut ledger, 0);
        let on_its_way = ledger.begin(0);
        assert!(ledger.opened(0));
        ledger.accepted(0, on_its_way);
        assert_eq!(ledger.balance().0, 0);
        let third = published(&mut ledger, 0);
        // Never answered.
        ledger.begin(0);
        assert!(!ledger.opened(0), "again");
        let (expected, missing, sample) = ledger.balance();
        assert_eq!((expected, missing, sample[0].number), (1, 1, third));
        assert_eq!(ledger.arrived(0, third), Arrival::InOrder);
        assert_eq!((ledger.balance().1, ledger.never_opened()), (0, 2));
    }

    #[test]
    fn arrivals_are_told_apart() {
        let mut ledger = Ledger::new(1, &[0, 0]);
        for connection in 0..2 {
            ledger.opened(connection);
        }
        for _ in 0..100 {
            published(&mut ledger, 0);
        }
        use Arrival::{Disorder, Foreign, InOrder, Twice};
        let arrivals = [1, 3, 2, 3, 70, 0, 101].map(|number| ledger.arrived(0, number));
        assert_eq!(arrivals, [InOrder, InOrder, Disorder, Twice, InOrder, Foreign, Foreign]);
        let (expected, missing, sample) = ledger.balance();
        assert_eq!((expected, missing, sample.len()), (200, 196, SAMPLE));
        assert_eq!((sample[0].connection, sample[0].number), (0, 4));
    }
}
