use std::time::Duration;

use super::*;
use crate::backplane::{Order, Whose};
use crate::config::HistoryConfig;
use crate::history::{Entry as HistoryEntry, From, History};
use crate::protocol::{IdempotencyKey, Payload, Traceparent};

#[derive(Default)]
struct Seen(Mutex<Vec<(String, Vec<u8>)>>);

impl Sink for Seen {
    fn order(&self, _order: Order) {}

    fn deliver(&self, user: &str, arrival: Arrival) {
        let payload = match arrival {
            Arrival::Bare(payload) => payload,
            Arrival::Kept(record) => record.payload,
        };
        self.0.lock().push((user.to_owned(), payload.to_vec()));
    }

    fn malformed(&self, _bytes: usize) {}

    fn cut(&self, _whose: &Whose<'_>) {}

    fn restored(&self, _whose: &Whose<'_>, _was_up: bool) {}
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a valid id")
}

#[tokio::test]
async fn delivers_while_somebody_is_interested() {
    let seen = Arc::new(Seen::default());
    let backplane = MemoryBackplane::new(Arc::clone(&seen) as Arc<dyn Sink>, None);
    let publish = async |text: &str| {
        backplane
            .publish(user("ann"), Payload::from(text).into())
            .await
            .map(|published| published.subscribers)
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
    let backplane = MemoryBackplane::new(Arc::clone(&seen) as Arc<dyn Sink>, None);
    let _ann = backplane.subscribe(user("ann")).await.expect("never fails");
    let messages = [("ann", "1"), ("bob", "2"), ("ann", "3")];
    let messages = messages.map(|(name, text)| (user(name), Payload::from(text).into())).into();
    let published = backplane.publish_all(messages).await.expect("never fails");
    assert_eq!(published.iter().map(|one| one.subscribers).collect::<Vec<_>>(), [1, 0, 1]);
    let payloads: Vec<Vec<u8>> = seen.0.lock().iter().map(|(_, payload)| payload.clone()).collect();
    assert_eq!(payloads, [b"1".to_vec(), b"3".to_vec()]);
}

fn with_history(seen: &Arc<Seen>) -> (MemoryBackplane, Arc<Rings>) {
    let rings = Arc::new(Rings::new(HistoryConfig { size: 3, ttl: Duration::from_secs(10) }));
    let backplane = MemoryBackplane::new(Arc::clone(seen) as Arc<dyn Sink>, Some(Arc::clone(&rings)));
    (backplane, rings)
}

fn keyed(text: &str, key: &str) -> Publication {
    let key = IdempotencyKey::new(key.as_bytes()).expect("a key");
    Publication { idempotency_key: Some(key), ..Payload::from(text).into() }
}

#[tokio::test]
async fn a_message_is_kept_whether_or_not_somebody_hears_it() {
    let seen = Arc::new(Seen::default());
    let (backplane, rings) = with_history(&seen);
    let unheard = backplane.publish(user("ann"), Payload::from("1").into()).await.expect("published");
    let _ann = backplane.subscribe(user("ann")).await.expect("never fails");
    let traceparent = Traceparent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let publication = Publication { traceparent: traceparent.clone(), ..Payload::from("2").into() };
    let heard = backplane.publish(user("ann"), publication).await.expect("published");
    assert_eq!((unheard.subscribers, heard.subscribers), (0, 1));
    assert!(unheard.id.is_some() && unheard.id < heard.id);

    let entries = rings.read(user("ann"), From::Oldest, 9).await.expect("never fails");
    assert_eq!(entries.iter().map(HistoryEntry::id).map(Some).collect::<Vec<_>>(), [unheard.id, heard.id]);
    let kept = seen.0.lock().iter().map(|(_, payload)| payload.clone()).collect::<Vec<_>>();
    assert_eq!(kept, [b"2".to_vec()]);
    assert!(matches!(&entries[1], HistoryEntry::Message(record) if record.traceparent == traceparent));
}

#[tokio::test(start_paused = true)]
async fn a_repetition_does_nothing_and_is_answered_as_the_first_time() {
    for history in [true, false] {
        let seen = Arc::new(Seen::default());
        let backplane = if history {
            with_history(&seen).0
        } else {
            MemoryBackplane::new(Arc::clone(&seen) as Arc<dyn Sink>, None)
        };
        let ann = backplane.subscribe(user("ann")).await.expect("never fails");
        let first = backplane.publish(user("ann"), keyed("1", "k")).await.expect("published");
        drop(ann);
        let batch = vec![(user("ann"), keyed("1", "k")), (user("bob"), keyed("1", "k"))];
        let again = backplane.publish_all(batch).await.expect("published");
        assert_eq!((first.subscribers, first.id.is_some()), (1, history));
        assert_eq!(again[0], first);
        assert_eq!(again[1].subscribers, 0, "a key is its user's own");
        tokio::time::advance(crate::history::REMEMBERED).await;
        let later = backplane.publish(user("ann"), keyed("1", "k")).await.expect("published");
        assert_eq!(later.subscribers, 0);
        assert_eq!(seen.0.lock().len(), 1);
    }
}
