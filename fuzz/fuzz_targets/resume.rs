//! A client that resumes from whatever it says, on a history in memory that others write to: all that followed its id,
//! once and in order, or a gap; never another user's message; and a cursor that is always good.
#![no_main]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use websocket_service::config::HistoryConfig;
use websocket_service::history::memory::Rings;
use websocket_service::history::{History, Opening, Read, open};
use websocket_service::protocol::{EventId, Payload, Publication, UserId};
use websocket_service::server::last_event_id;

/// A history in memory answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// How a connection begins, with the ids of all that it is sent before anything live.
fn connect(rings: &Rings, user: &UserId, given: Option<&str>, limit: usize) -> (Opening, Vec<EventId>) {
    let mut opening = now(open(rings, user, given, limit)).expect("it can be read");
    let mut records = std::mem::take(&mut opening.messages);
    let mut end = opening.end;
    while !end {
        let entries = now(rings.read(user.clone(), opening.join.next(), limit)).expect("it can be read");
        let read: Read = opening.join.read(entries, limit);
        assert_eq!(read.gap, None, "nothing was published meanwhile");
        records.extend(read.messages);
        end = read.end;
    }
    assert!(records.iter().all(|record| *record.payload == *user.as_str().as_bytes()), "somebody else's");
    (opening, records.into_iter().map(|record| record.id).collect())
}

fuzz_target!(|data: (u8, u8, Vec<u8>, &str, &[u8])| {
    let (size, limit, steps, query, header) = data;
    let config = HistoryConfig { size: usize::from(size % 8) + 1, ..HistoryConfig::default() };
    let limit = usize::from(limit % 8) + 2;
    let rings = Rings::new(config);
    let users = ["ann", "bob"].map(|user| UserId::new(user).expect("an id"));
    let mut published: [Vec<EventId>; 2] = Default::default();

    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(header) {
        headers.append("last-event-id", value);
    }
    let mut given = vec![last_event_id(Some(query), &headers)];
    for step in steps {
        let (user, which) = (usize::from(step & 1), usize::from(step >> 3));
        match step >> 1 & 3 {
            0 => {
                let payload = Payload::from(users[user].as_str().to_owned());
                let (id, ()) = rings.append(&users[user], &Publication::from(payload), |_| ());
                published[user].push(id);
            }
            // Of one's own, or of the other user.
            1 => given.extend(published[user].iter().rev().nth(which).map(|id| Some(id.to_string()))),
            2 => given
                .extend(published[user].iter().rev().nth(which).map(|id| Some(id.predecessor().to_string()))),
            _ => given.push(None),
        }
    }
    let (ann, all) = (&users[0], &published[0]);
    for given in given {
        let (opening, sent) = connect(&rings, ann, given.as_deref(), limit);
        let from = given.as_deref().and_then(|given| given.parse::<EventId>().ok());
        match (&given, opening.resumed) {
            (None, resumed) => assert!(!resumed && opening.gap.is_none() && sent.is_empty()),
            (Some(_), true) => {
                assert_eq!(opening.gap, None);
                let missed: Vec<EventId> = all.iter().copied().filter(|id| Some(*id) > from).collect();
                assert_eq!(sent, missed, "all that followed, once and in order");
            }
            (Some(given), false) => {
                let shown = opening.gap.as_deref().expect("a gap");
                assert!(given.starts_with(shown));
                assert!(all.ends_with(&sent), "history's end, without holes");
            }
        }
        // Whoever is cut off right after the hello comes back with the cursor.
        let (again, sent_again) = connect(&rings, ann, Some(&opening.cursor.to_string()), limit);
        assert!(again.resumed, "{opening:?}");
        assert_eq!(sent_again, sent);
    }
});
