use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::history::open;
use crate::protocol::Payload;

const TTL: Duration = Duration::from_secs(10);

fn rings(size: usize) -> Rings {
    Rings::new(HistoryConfig { size, ttl: TTL })
}

fn user(number: usize) -> UserId {
    UserId::new(&number.to_string()).expect("an id")
}

fn append(rings: &Rings, user: &UserId, text: &str) -> EventId {
    rings.append(user, &Payload::from(text).into(), |_| ()).0
}

async fn read(rings: &Rings, user: &UserId, from: From, limit: usize) -> Vec<Entry> {
    rings.read(user.clone(), from, limit).await.expect("never fails")
}

fn text(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Message(record) => Some(String::from_utf8(record.payload.to_vec()).expect("UTF-8")),
        Entry::Mark(_) => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_without_messages_has_a_mark_to_begin_from() {
    let rings = rings(3);
    let ann = user(1);
    assert_eq!(read(&rings, &ann, From::Entry(EventId { milliseconds: 1, sequence: 0 }), 9).await, []);
    let mark = rings.newest(ann.clone()).await.expect("never fails");
    assert_eq!(rings.newest(ann.clone()).await, Ok(mark), "it is made once");
    assert_eq!(read(&rings, &ann, From::Oldest, 9).await, [Entry::Mark(mark)]);
    let bob = read(&rings, &user(2), From::Oldest, 9).await;
    assert!(matches!(&bob[..], [Entry::Mark(other)] if *other > mark));

    let first = append(&rings, &ann, "first");
    let entries = read(&rings, &ann, From::Entry(mark), 9).await;
    assert_eq!(entries.iter().map(Entry::id).collect::<Vec<_>>(), [mark, first]);
    assert_eq!(read(&rings, &ann, From::Entry(mark.successor()), 1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_delivered_as_it_is_kept() {
    let rings = rings(3);
    let traceparent =
        crate::protocol::Traceparent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let publication = Publication { traceparent, ..Payload::from("x").into() };
    let (id, delivered) = rings.append(&user(1), &publication, Record::clone);
    assert_eq!((delivered.id, &delivered.traceparent), (id, &publication.traceparent));
    assert_eq!(read(&rings, &user(1), From::Oldest, 9).await, [Entry::Message(delivered)]);
}

#[tokio::test(start_paused = true)]
async fn what_expired_is_gone_from_memory_too() {
    let rings = rings(3);
    for number in 0..100 {
        append(&rings, &user(number), "x");
    }
    advance(TTL).await;
    for number in 1_000..1_100 {
        append(&rings, &user(number), "x");
    }
    let state = rings.state.lock();
    assert_eq!((state.users.len(), state.due.len()), (100, 100));
}

#[tokio::test(start_paused = true)]
async fn whoever_connects_keeps_what_is_about_to_expire() {
    let (rings, ann) = (rings(3), user(1));
    let id = append(&rings, &ann, "x").to_string();
    for given in [None, Some(id.as_str()), Some("1-0"), Some(&id)] {
        advance(TTL - Duration::from_millis(1)).await;
        let opening = open(&rings, &ann, given, 9).await.expect("never fails");
        assert_eq!(opening.resumed, given == Some(&id));
    }
}

#[test]
fn ids_and_live_order_agree_when_many_publish() {
    let (rings, seen) = (rings(1_000), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    rings.append(&user(1), &Payload::from("x").into(), |record| seen.lock().push(record.id));
                }
            });
        }
    });
    let seen = seen.into_inner();
    assert_eq!(seen.len(), 800);
    assert!(seen.is_sorted_by(|one, next| one < next), "each id is greater than the one before");
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Newest(usize),
    Oldest(usize, usize),
    /// From the n-th id ever made.
    Entry(usize, usize, usize),
    Keep(Vec<usize>),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..3_usize;
    prop_oneof![
        4 => user.clone().prop_map(Step::Append),
        1 => user.clone().prop_map(Step::Newest),
        1 => (user.clone(), 0..6_usize).prop_map(|(user, limit)| Step::Oldest(user, limit)),
        2 => (user.clone(), 0..40_usize, 0..6_usize).prop_map(|(user, nth, limit)| Step::Entry(user, nth, limit)),
        1 => vec(user, 0..3).prop_map(Step::Keep),
        2 => (0..8_000_u64).prop_map(Step::Wait),
    ]
}

/// Ids and what was published, nothing for a mark.
type Entries = Vec<(EventId, Option<String>)>;

/// The same, as plainly as it can be said.
struct Model {
    size: usize,
    now: u64,
    /// With the millisecond at which they expire.
    users: BTreeMap<usize, (Entries, u64)>,
}

impl Model {
    /// What there is of a user; whoever asks keeps it.
    fn alive(&mut self, user: usize) -> Entries {
        let now = self.now;
        self.users.retain(|_, (_, expires)| *expires > now);
        let Some((entries, expires)) = self.users.get_mut(&user) else { return Entries::new() };
        *expires = now + 10_000;
        entries.clone()
    }

    fn push(&mut self, user: usize, id: EventId, text: Option<String>) {
        let mut entries = self.alive(user);
        entries.push((id, text));
        let over = entries.len().saturating_sub(self.size);
        entries.drain(..over);
        self.users.insert(user, (entries, self.now + 10_000));
    }
}

async fn agrees(size: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let rings = rings(size);
    let mut model = Model { size, now: 0, users: BTreeMap::new() };
    let mut ids = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append(name) => {
                let id = append(&rings, &user(name), &number.to_string());
                prop_assert!(ids.last().is_none_or(|last| *last < id));
                ids.push(id);
                model.push(name, id, Some(number.to_string()));
            }
            Step::Newest(name) => {
                let newest = rings.newest(user(name)).await.expect("never fails");
                match model.alive(name).last() {
                    Some((id, _)) => prop_assert_eq!(newest, *id),
                    None => {
                        ids.push(newest);
                        model.push(name, newest, None);
                    }
                }
            }
            Step::Oldest(name, limit) => {
                let entries = read(&rings, &user(name), From::Oldest, limit).await;
                if model.alive(name).is_empty() {
                    // The mark is there even where none was asked for.
                    let mark = rings.newest(user(name)).await.expect("never fails");
                    ids.push(mark);
                    model.push(name, mark, None);
                }
                let expected: Vec<_> = model.alive(name).into_iter().take(limit).collect();
                prop_assert_eq!(
                    entries.iter().map(|one| (one.id(), text(one))).collect::<Vec<_>>(),
                    expected
                );
            }
            Step::Entry(name, nth, limit) => {
                let Some(from) = ids.get(nth).copied() else { continue };
                let entries = read(&rings, &user(name), From::Entry(from), limit).await;
                let after = model.alive(name).into_iter().filter(|(id, _)| *id >= from);
                let expected: Vec<_> = after.take(limit).collect();
                prop_assert_eq!(
                    entries.iter().map(|one| (one.id(), text(one))).collect::<Vec<_>>(),
                    expected
                );
            }
            Step::Keep(names) => {
                for name in &names {
                    model.alive(*name);
                }
                rings.keep(names.into_iter().map(user).collect()).await.expect("never fails");
            }
            Step::Wait(milliseconds) => {
                advance(Duration::from_millis(milliseconds)).await;
                model.now += milliseconds;
            }
        }
        let state = rings.state.lock();
        prop_assert_eq!(state.users.len(), state.due.len(), "each ring is in the queue once");
    }
    Ok(())
}

proptest! {
    #[test]
    fn rings_do_what_the_model_does(size in 1..5_usize, steps in vec(step(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(agrees(size, steps))?;
    }
}
