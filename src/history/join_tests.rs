use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn id(milliseconds: u64) -> EventId {
    EventId { milliseconds, sequence: 0 }
}

fn message(milliseconds: u64) -> Entry {
    Entry::Message(Record { id: id(milliseconds), traceparent: None, payload: "x".into() })
}

fn ids(read: &Read) -> Vec<u64> {
    read.messages.iter().map(|record| record.id.milliseconds).collect()
}

#[test]
fn a_resume_continues_after_the_id() {
    let mut join = Join::after(id(1));
    assert_eq!(join.next(), From::Entry(id(1)));
    let first = join.read(vec![message(1), message(2), message(3)], 3);
    assert_eq!((ids(&first), first.gap, first.end), (vec![2, 3], None, false));
    assert_eq!(join.next(), From::Entry(id(3)));
    let rest = join.read(vec![message(3)], 3);
    assert_eq!((ids(&rest), rest.end), (vec![], true));
    assert_eq!([3, 4, 5].map(|n| join.live(id(n))), [Live::Repeated, Live::Send, Live::Send]);
}

#[test]
fn a_trimmed_id_is_a_gap_and_the_rest_follows() {
    let mut join = Join::after(id(1));
    let broken = join.read(vec![message(5), message(6)], 10);
    assert_eq!((broken.gap, broken.messages.len(), broken.end), (Some(Gap(Some(id(1)))), 0, false));
    assert_eq!(join.next(), From::Oldest);
    let rest = join.read(vec![message(4), message(5), message(6)], 10);
    assert_eq!((ids(&rest), rest.gap, rest.end), (vec![4, 5, 6], None, true));
}

#[test]
fn a_wiped_history_is_a_gap_and_goes_on_from_its_mark() {
    let mut join = Join::after(id(9));
    assert_eq!(join.read(vec![], 10).gap, Some(Gap(Some(id(9)))));
    assert!(join.read(vec![Entry::Mark(id(2))], 10).end);
    assert_eq!(join.live(id(3)), Live::Send, "ids began anew");
}

#[test]
fn the_place_before_an_entry_is_as_good_as_the_entry() {
    let mut join = Join::after(id(5).predecessor());
    let read = join.read(vec![message(5), message(6)], 10);
    assert_eq!((ids(&read), read.gap), (vec![5, 6], None));
}

#[test]
fn a_first_comer_gets_what_follows_and_marks_are_no_messages() {
    let mut join = Join::at(id(4));
    assert_eq!([3, 4, 5].map(|n| join.live(id(n))), [Live::Repeated, Live::Repeated, Live::Send]);
    let read = join.read(vec![message(5), Entry::Mark(id(6)), message(7)], 10);
    assert_eq!(ids(&read), [7]);
}

#[test]
fn ids_that_go_backwards_live_are_a_gap() {
    let mut join = Join::at(id(4));
    assert_eq!(join.live(id(5)), Live::Send);
    assert_eq!(join.live(id(2)), Live::SendAfter(Gap(Some(id(5)))));
    assert_eq!(join.live(id(3)), Live::Send);
}

/// What may happen, in any order.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// A message is appended and published; so much later than the one before.
    Publish(u8),
    /// The oldest published message on its way reaches the pod.
    Arrive,
    /// The connection reads a page, if it is to.
    Read,
    /// The link breaks: what is on its way is lost, and nothing comes.
    Cut,
    /// It is there again.
    Restore,
    /// History loses its oldest entries, down to so many.
    Trim(u8),
    /// History loses everything, and its clock steps back. The link does not survive it.
    Wipe,
    /// The client's connection breaks, and it resumes.
    Resume,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (0u8..3).prop_map(Happening::Publish),
        8 => Just(Happening::Arrive),
        6 => Just(Happening::Read),
        1 => Just(Happening::Cut),
        2 => Just(Happening::Restore),
        1 => (0u8..4).prop_map(Happening::Trim),
        1 => Just(Happening::Wipe),
        2 => Just(Happening::Resume),
    ]
}

/// A client, its connection, and everything between it and the publisher.
struct World {
    stream: Vec<(EventId, Option<u64>)>,
    /// The newest id ever, trimmed or not.
    last: Option<EventId>,
    wipes: u64,
    clock: u64,
    published: u64,
    on_its_way: VecDeque<(EventId, u64)>,
    linked: bool,
    join: Join,
    /// Live messages wait, and a read is due.
    holding: bool,
    held: Vec<(EventId, u64)>,
    /// What the client got: numbers of messages, and `None` for a gap.
    log: Vec<Option<u64>>,
    last_id: Option<EventId>,
    limit: usize,
}

impl World {
    fn new(limit: usize) -> Self {
        let mut world = Self {
            stream: Vec::new(),
            last: None,
            wipes: 0,
            clock: 1_000,
            published: 0,
            on_its_way: VecDeque::new(),
            linked: true,
            join: Join::from_oldest(),
            holding: false,
            held: Vec::new(),
            log: Vec::new(),
            last_id: None,
            limit,
        };
        let first = world.newest();
        world.join = Join::at(first);
        world.last_id = Some(first);
        world
    }

    fn append(&mut self, message: Option<u64>) -> EventId {
        // No two servers give one id to two messages: they would have to do so in the same millisecond.
        let next = id(self.clock * 1_000 + self.wipes);
        let id = self.last.map_or(next, |last| next.max(last.successor()));
        self.last = Some(id);
        self.stream.push((id, message));
        id
    }

    fn newest(&mut self) -> EventId {
        match self.stream.last() {
            Some((id, _)) => *id,
            None => self.append(None),
        }
    }

    /// What a read returns, as the trait has it.
    fn entries(&mut self, from: From) -> Vec<(EventId, Option<u64>)> {
        if self.stream.is_empty() && from == From::Oldest {
            self.append(None);
        }
        let start = match from {
            From::Entry(id) => id,
            From::Oldest => id(0),
        };
        self.stream.iter().filter(|(id, _)| *id >= start).take(self.limit).copied().collect()
    }

    fn got(&mut self, id: EventId, message: u64) {
        self.log.push(Some(message));
        self.last_id = Some(id);
    }

    fn live(&mut self, id: EventId, message: u64) {
        match self.join.live(id) {
            Live::Repeated => return,
            Live::Send => {}
            Live::SendAfter(_) => self.log.push(None),
        }
        self.got(id, message);
    }

    fn read(&mut self) {
        let found = self.entries(self.join.next());
        let number = |id: EventId| found.iter().find(|entry| entry.0 == id).and_then(|entry| entry.1);
        let entries = found.iter().map(|(id, message)| match message {
            Some(_) => Entry::Message(Record { id: *id, traceparent: None, payload: "x".into() }),
            None => Entry::Mark(*id),
        });
        let read = self.join.read(entries.collect(), self.limit);
        if read.gap.is_some() {
            self.log.push(None);
        }
        for record in read.messages {
            let number = number(record.id).expect("a message that is in the stream");
            self.got(record.id, number);
        }
        if read.end {
            self.holding = false;
            for (id, message) in std::mem::take(&mut self.held) {
                self.live(id, message);
            }
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Publish(later) => {
                self.clock += u64::from(later);
                self.published += 1;
                let id = self.append(Some(self.published));
                if self.linked {
                    self.on_its_way.push_back((id, self.published));
                }
            }
            Happening::Arrive => {
                if let Some((id, message)) = self.on_its_way.pop_front() {
                    if self.holding {
                        self.held.push((id, message));
                    } else {
                        self.live(id, message);
                    }
                }
            }
            Happening::Read if self.linked && self.holding => self.read(),
            Happening::Read => {}
            Happening::Cut => self.cut(),
            Happening::Restore => self.linked = true,
            Happening::Trim(keep) => {
                let first = self.stream.len().saturating_sub(usize::from(keep));
                self.stream.drain(..first);
            }
            Happening::Wipe => {
                self.cut();
                self.stream.clear();
                self.last = None;
                self.wipes += 1;
                self.clock = self.clock.saturating_sub(50);
            }
            Happening::Resume => {
                self.held.clear();
                self.holding = true;
                self.join = self.last_id.map_or_else(Join::from_oldest, Join::after);
            }
        }
    }

    fn cut(&mut self) {
        self.linked = false;
        self.on_its_way.clear();
        self.held.clear();
        self.holding = true;
    }

    /// Lets everything come to rest.
    fn settle(&mut self) {
        self.linked = true;
        for _ in 0..10_000 {
            if self.on_its_way.is_empty() && !self.holding {
                return;
            }
            self.happens(Happening::Arrive);
            self.happens(Happening::Read);
        }
        panic!("never comes to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn every_message_once_in_order_or_an_honest_gap(
        happenings in prop::collection::vec(happening(), 0..80),
        limit in 2usize..6,
    ) {
        let mut world = World::new(limit);
        for happening in happenings {
            world.happens(happening);
        }
        world.settle();

        let mut next = 1;
        let mut gap = false;
        for entry in &world.log {
            match entry {
                None => gap = true,
                Some(number) => {
                    // After a gap everything that history still holds comes, and so some of it perhaps again.
                    prop_assert!(gap || *number == next, "{number} follows {} without a gap: {:?}", next - 1, world.log);
                    next = number + 1;
                    gap = false;
                }
            }
        }
        prop_assert!(gap || next == world.published + 1, "the end is missing: {:?}", world.log);
    }
}
