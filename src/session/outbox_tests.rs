use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use proptest::prelude::*;

use super::*;
use crate::protocol::{EventId, Record};

fn envelope(bytes: usize) -> Arc<Envelope> {
    Envelope::new(vec![b'x'; bytes], usize::MAX).expect("ASCII")
}

fn push(outbox: &Outbox, envelope: &Arc<Envelope>, bounds: &OutboxConfig) -> Push {
    outbox.offer(envelope, bounds, &Metrics::new())
}

fn bounds(bytes: usize, messages: usize, policy: OverflowPolicy) -> OutboxConfig {
    OutboxConfig { bytes, messages, policy }
}

#[test]
fn policy_close_empties_the_queue_and_names_the_reason() {
    let outbox = Outbox::default();
    let bounds = bounds(10, 10, OverflowPolicy::Close);
    assert_eq!(push(&outbox, &envelope(6), &bounds), Push::Queued);
    assert_eq!(push(&outbox, &envelope(5), &bounds), Push::Overflow { messages: 2 });
    assert_eq!(push(&outbox, &envelope(1), &bounds), Push::Closed);
    assert_eq!(outbox.take_close(false).map(|close| close.code), Some(CloseCode::SlowConsumer));
    assert!(outbox.pop().is_none());
}

#[test]
fn policy_drop_oldest_keeps_the_newest_in_order() {
    let outbox = Outbox::default();
    let bounds = bounds(100, 2, OverflowPolicy::DropOldest);
    assert_eq!(push(&outbox, &envelope(1), &bounds), Push::Queued);
    assert_eq!(push(&outbox, &envelope(2), &bounds), Push::Queued);
    assert_eq!(push(&outbox, &envelope(3), &bounds), Push::DroppedOldest { messages: 1, queued: true });
    assert_eq!(outbox.pop().map(|next| next.envelope.len()), Some(2));
    assert_eq!(outbox.pop().map(|next| next.envelope.len()), Some(3));
}

#[test]
fn a_close_waits_for_what_is_queued_and_an_abort_does_not() {
    let outbox = Outbox::default();
    let bounds = bounds(100, 10, OverflowPolicy::Close);
    push(&outbox, &envelope(1), &bounds);
    outbox.close(Close::of(ErrorCode::ServiceUnavailable, "Server is draining"));
    assert_eq!(outbox.take_close(false), None);
    assert!(outbox.pop().is_some());
    assert!(outbox.take_close(false).is_some());
    outbox.close(Close::normal());
    assert_eq!(outbox.take_close(false).and_then(|c| c.error), Some(ErrorCode::ServiceUnavailable));
}

#[test]
fn an_empty_queue_holds_no_memory() {
    let outbox = Outbox::default();
    let bounds = bounds(1_000, 1_000, OverflowPolicy::Close);
    for _ in 0..100 {
        push(&outbox, &envelope(1), &bounds);
    }
    while outbox.pop().is_some() {}
    assert_eq!(outbox.state.lock().queue.capacity(), 0);
}

fn kept(sequence: u64) -> Arc<Envelope> {
    let record = Record { id: EventId { milliseconds: 1, sequence }, traceparent: None, payload: "x".into() };
    Envelope::kept(record, 100).expect("ASCII")
}

/// What the session would write now.
fn written(outbox: &Outbox) -> Vec<Option<u64>> {
    std::iter::from_fn(|| outbox.pop()).map(|next| next.envelope.id().map(|id| id.sequence)).collect()
}

#[test]
fn who_does_not_resume_loses_the_oldest_also_of_what_is_in_history() {
    let outbox = Outbox::default();
    let bounds = bounds(100, 2, OverflowPolicy::DropOldest);
    for sequence in 1..=2 {
        assert_eq!(push(&outbox, &kept(sequence), &bounds), Push::Queued);
    }
    assert_eq!(push(&outbox, &envelope(1), &bounds), Push::DroppedOldest { messages: 1, queued: true });
    assert!(!is_behind(&outbox), "nobody reads it again");
    assert_eq!(written(&outbox), [Some(2), None]);
}

fn is_behind(outbox: &Outbox) -> bool {
    let wanted = Wanted::Messages(1);
    matches!(
        outbox.poll(wanted, &Context::from_waker(Waker::noop())),
        Poll::Ready(Waiting { behind: true, .. })
    )
}

#[test]
fn what_arrives_while_reading_is_held_back_and_then_follows() {
    let outbox = Outbox::resuming();
    let bounds = bounds(100, 10, OverflowPolicy::Close);
    assert_eq!(push(&outbox, &kept(1), &bounds), Push::Held);
    assert_eq!(push(&outbox, &envelope(1), &bounds), Push::Queued);
    assert_eq!(written(&outbox), [None], "what has no history does not wait");
    assert_eq!(outbox.follow(), Follow::Live);
    assert_eq!(push(&outbox, &kept(2), &bounds), Push::Queued);
    assert_eq!(written(&outbox), [Some(1), Some(2)]);
}

#[test]
fn what_has_no_room_while_reading_is_read_again() {
    let outbox = Outbox::resuming();
    let bounds = bounds(100, 2, OverflowPolicy::Close);
    let metrics = Metrics::new();
    for sequence in 1..=3 {
        assert_eq!(outbox.offer(&kept(sequence), &bounds, &metrics), Push::Held);
    }
    assert_eq!(outbox.follow(), Follow::Again);
    outbox.begin_read();
    assert_eq!(outbox.offer(&kept(4), &bounds, &metrics), Push::Held);
    assert_eq!(outbox.follow(), Follow::Live);
    assert!(written(&outbox).ends_with(&[Some(4)]));
    assert_eq!(metrics.messages_failed.of(FailedMessage::OutboxFull).get(), 0, "nothing was lost");
    assert_eq!(outbox.standing().bytes, 0, "and nothing waits any more");
}

#[test]
fn a_cut_holds_back_until_everything_was_read_anew() {
    let outbox = Outbox::resuming();
    let bounds = bounds(100, 10, OverflowPolicy::Close);
    let metrics = Metrics::new();
    assert_eq!(outbox.follow(), Follow::Live);
    outbox.offer(&kept(1), &bounds, &metrics);
    outbox.cut(&metrics);
    assert_eq!(outbox.offer(&kept(3), &bounds, &metrics), Push::Held, "2 may have been missed");
    assert!(!is_behind(&outbox), "what was queued before goes first, and the link is not back");
    assert_eq!(written(&outbox), [Some(1)]);
    outbox.cut(&metrics);
    assert_eq!(metrics.outbox_bytes.get(), 1, "what was held back is forgotten");
    assert_eq!(outbox.standing().bytes, 0, "by the outbox too, which has handed on the first");
    outbox.restored();
    assert!(is_behind(&outbox));
    outbox.begin_read();
    assert!(!is_behind(&outbox));
    outbox.cut(&metrics);
    assert_eq!(outbox.follow(), Follow::Wait, "cut again while it was read");
    outbox.begin_read();
    assert_eq!(outbox.follow(), Follow::Wait);
    outbox.restored();
    assert_eq!(outbox.follow(), Follow::Again);
    outbox.begin_read();
    assert_eq!(outbox.follow(), Follow::Live);
}

#[test]
fn a_session_that_reads_already_is_told_once() {
    let outbox = Outbox::resuming();
    let metrics = Metrics::new();
    // A further page of a read that began before the cut.
    outbox.cut(&metrics);
    outbox.begin_read();
    for _ in 0..2 {
        outbox.restored();
        assert!(is_behind(&outbox), "it has to read once more");
        assert!(!is_behind(&outbox), "to be woken without end would keep its thread from the read under way");
    }
    assert_eq!(outbox.follow(), Follow::Again);
    outbox.begin_read();
    assert_eq!(outbox.follow(), Follow::Live);
}

#[test]
fn a_plain_connection_holds_nothing_back() {
    let outbox = Outbox::default();
    let bounds = bounds(100, 10, OverflowPolicy::Close);
    outbox.cut(&Metrics::new());
    assert_eq!(push(&outbox, &kept(1), &bounds), Push::Queued);
    outbox.restored();
    assert_eq!(written(&outbox), [Some(1)]);
}

#[test]
fn drop_oldest_loses_nothing_that_is_in_history() {
    let outbox = Outbox::resuming();
    let bounds = bounds(100, 2, OverflowPolicy::DropOldest);
    let metrics = Metrics::new();
    assert_eq!(outbox.follow(), Follow::Live);
    outbox.offer(&envelope(1), &bounds, &metrics);
    outbox.offer(&kept(1), &bounds, &metrics);
    assert_eq!(outbox.offer(&kept(2), &bounds, &metrics), Push::Held);
    assert_eq!(outbox.standing(), Standing { messages: 1, bytes: 1, last_id: None }, "the bare one");
    assert_eq!(written(&outbox), [None], "both are read again");
    assert!(is_behind(&outbox));
    assert_eq!(metrics.messages_failed.of(FailedMessage::DroppedOldest).get(), 0);
    // On a cut link that waits.
    outbox.cut(&metrics);
    outbox.offer(&envelope(1), &bounds, &metrics);
    outbox.offer(&envelope(1), &bounds, &metrics);
    outbox.offer(&envelope(1), &bounds, &metrics);
    written(&outbox);
    assert!(!is_behind(&outbox));
}

#[test]
fn an_operator_sees_what_waits_and_how_far_a_connection_got() {
    let outbox = Outbox::resuming();
    let bounds = bounds(100, 10, OverflowPolicy::Close);
    push(&outbox, &kept(1), &bounds);
    push(&outbox, &envelope(7), &bounds);
    assert_eq!(outbox.standing(), Standing { messages: 2, bytes: 8, last_id: None }, "one of them held back");
    assert_eq!(outbox.follow(), Follow::Live);
    outbox.pop();
    assert_eq!(outbox.standing(), Standing { messages: 1, bytes: 1, last_id: None }, "it has no history");
    outbox.pop();
    assert_eq!(outbox.standing(), Standing { messages: 0, bytes: 0, last_id: kept(1).id() });
    push(&outbox, &envelope(7), &bounds);
    outbox.pop();
    assert_eq!(outbox.standing().last_id, kept(1).id(), "and does not undo one that has");
}

#[test]
fn what_is_lost_with_a_connection_that_resumes_is_what_has_no_history() {
    let outbox = Outbox::resuming();
    let bounds = bounds(100, 10, OverflowPolicy::Close);
    let metrics = Metrics::new();
    assert!(outbox.resumes() && !Outbox::default().resumes());
    assert_eq!(outbox.follow(), Follow::Live);
    for envelope in [kept(1), envelope(1), Envelope::own("pong".to_owned()), kept(2)] {
        outbox.offer(&envelope, &bounds, &metrics);
    }
    outbox.shut(&metrics);
    assert_eq!(metrics.messages_failed.of(FailedMessage::ConnectionLost).get(), 1);
    assert_eq!((metrics.outbox_bytes.get(), outbox.standing().bytes), (0, 0));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_session_is_woken_by_what_it_waits_for_and_not_by_what_a_closing_outbox_refuses() {
    let (outbox, woken) = (Outbox::default(), Arc::new(Woken::default()));
    let waker = Waker::from(Arc::clone(&woken));
    let bounds = bounds(100, 10, OverflowPolicy::Close);
    let waits = |wanted| outbox.poll(wanted, &Context::from_waker(&waker)).is_pending();
    let times = || woken.0.load(Ordering::Relaxed);
    assert!(waits(Wanted::Messages(1)));
    push(&outbox, &envelope(1), &bounds);
    assert_eq!(times(), 1);
    assert!(waits(Wanted::Messages(2)) && waits(Wanted::Close));
    outbox.close(Close::normal());
    assert_eq!(times(), 2, "once, however often it asked");
    assert!(waits(Wanted::Abort));
    assert_eq!(push(&outbox, &envelope(1), &bounds), Push::Closed);
    assert_eq!(times(), 2);
    outbox.abort(Close::normal());
    assert_eq!(times(), 3);
}

proptest! {
    #[test]
    fn never_above_its_bounds_and_every_message_accounted_for(
        sizes in prop::collection::vec(0usize..40, 0..60),
        pops in prop::collection::vec(any::<bool>(), 60),
        max_bytes in 0usize..120,
        max_messages in 1usize..8,
        drop_oldest in any::<bool>(),
    ) {
        let policy = if drop_oldest { OverflowPolicy::DropOldest } else { OverflowPolicy::Close };
        let bounds = bounds(max_bytes, max_messages, policy);
        let (outbox, metrics) = (Outbox::default(), Metrics::new());
        let (mut given, mut lost, mut written, mut refused) = (0, 0, 0, 0);
        for (size, pop) in sizes.iter().zip(pops) {
            given += 1;
            match outbox.offer(&envelope(*size), &bounds, &metrics) {
                Push::Queued | Push::Held => {}
                Push::DroppedOldest { messages, .. } | Push::Overflow { messages, .. } => lost += messages,
                Push::Closed => refused += 1,
            }
            let state = outbox.state.lock();
            prop_assert!(state.bytes <= max_bytes && state.queue.len() <= max_messages);
            prop_assert_eq!(state.bytes, state.queue.iter().map(|e| e.len()).sum::<usize>());
            drop(state);
            if pop && outbox.pop().is_some() {
                written += 1;
            }
        }
        prop_assert_eq!(given, lost + written + refused + outbox.state.lock().queue.len());
    }
}
