use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::config::{OutboxConfig, OverflowPolicy};
use crate::metrics::{FailedMessage, Metrics};
use crate::protocol::{Close, CloseCode, Envelope, ErrorCode};

/// One connection's bounded outgoing queue, written by the hub and read by the session.
///
/// Nothing is allocated before the first message, and the queue's memory is given back when it runs empty, for most
/// connections are idle most of the time. Closing from outside goes the same way, so a session waits on one thing.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Envelope>>,
    /// Payload bytes in `queue`.
    bytes: usize,
    close: Option<Box<Close>>,
    aborted: bool,
    waker: Option<Waker>,
}

/// What became of a message given to an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It waits to be written.
    Queued,
    /// It waits, and this many older ones were dropped for it: that many messages, that many bytes.
    DroppedOldest {
        /// Messages that were dropped; the new one itself where it alone is larger than the bound.
        messages: usize,
        /// Their bytes that were in the queue.
        bytes: usize,
        /// Whether the new message is in the queue.
        queued: bool,
    },
    /// No room: the queue was emptied and the connection closes with 4002.
    Overflow {
        /// Messages lost with it, the new one included.
        messages: usize,
        /// Their bytes that were in the queue.
        bytes: usize,
    },
    /// The connection is closing already.
    Closed,
}

impl Outbox {
    /// Queues a message, or applies the overflow policy, and counts what happened.
    pub fn offer(&self, envelope: &Arc<Envelope>, bounds: &OutboxConfig, metrics: &Metrics) -> Push {
        let push = self.push(envelope, bounds);
        let (messages, bytes, why) = match push {
            Push::Queued => {
                metrics.outbox_bytes.add(signed(envelope.len()));
                return push;
            }
            Push::Closed => return push,
            Push::DroppedOldest { messages, bytes, queued } => {
                metrics.outbox_bytes.add(if queued { signed(envelope.len()) } else { 0 });
                (messages, bytes, FailedMessage::DroppedOldest)
            }
            Push::Overflow { messages, bytes } => (messages, bytes, FailedMessage::OutboxFull),
        };
        metrics.outbox_bytes.sub(signed(bytes));
        metrics.messages_failed.of(why).inc_by(messages as u64);
        push
    }

    fn push(&self, envelope: &Arc<Envelope>, bounds: &OutboxConfig) -> Push {
        let mut state = self.state.lock();
        if state.close.is_some() || state.aborted {
            return Push::Closed;
        }
        let mut dropped = (0, 0);
        while !state.has_room(envelope.len(), bounds) {
            match bounds.policy {
                OverflowPolicy::Close => {
                    let (messages, bytes) = state.clear();
                    let close =
                        Close::with_code(CloseCode::SlowConsumer, ErrorCode::Connection, "Reads too slowly");
                    state.close = Some(Box::new(close));
                    let waker = state.waker.take();
                    drop(state);
                    wake(waker);
                    return Push::Overflow { messages: messages + 1, bytes };
                }
                OverflowPolicy::DropOldest => match state.pop() {
                    Some(oldest) => dropped = (dropped.0 + 1, dropped.1 + oldest.len()),
                    None => {
                        return Push::DroppedOldest {
                            messages: dropped.0 + 1,
                            bytes: dropped.1,
                            queued: false,
                        };
                    }
                },
            }
        }
        state.bytes += envelope.len();
        state.queue.push_back(Arc::clone(envelope));
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        match dropped {
            (0, _) => Push::Queued,
            (messages, bytes) => Push::DroppedOldest { messages, bytes, queued: true },
        }
    }

    /// Ends the connection once what is queued was written. The first reason stays.
    pub fn close(&self, close: Close) {
        let mut state = self.state.lock();
        state.close.get_or_insert_with(|| Box::new(close));
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// Ends the connection at once, whatever is queued and whether the peer answers or not.
    pub fn abort(&self, close: Close) {
        let mut state = self.state.lock();
        state.aborted = true;
        state.close.get_or_insert_with(|| Box::new(close));
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// Ready once there is what the session waits for; until then, wakes its task when something happens here.
    pub(super) fn poll(&self, wanted: Wanted, cx: &Context<'_>) -> Poll<Waiting> {
        let mut state = self.state.lock();
        let closing = state.close.is_some();
        let ready = match wanted {
            Wanted::Messages(count) => state.queue.len() >= count || closing,
            Wanted::Close => closing,
            Wanted::Abort => state.aborted,
        };
        if ready {
            return Poll::Ready(Waiting { messages: state.queue.len(), closing });
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next message to write.
    pub(super) fn pop(&self) -> Option<Arc<Envelope>> {
        let mut state = self.state.lock();
        let envelope = state.pop()?;
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
        Some(envelope)
    }

    /// Why the connection is to close, once nothing waits any more; with `now`, or aborted, although it does.
    pub(super) fn take_close(&self, now: bool) -> Option<Close> {
        let state = self.state.lock();
        let due = now || state.aborted || state.queue.is_empty();
        if due { state.close.as_deref().cloned() } else { None }
    }

    /// Takes no more messages, and counts those that wait as lost.
    pub(super) fn shut(&self, metrics: &Metrics) {
        let mut state = self.state.lock();
        state.close.get_or_insert_with(|| Box::new(Close::normal()));
        let (messages, bytes) = state.clear();
        drop(state);
        metrics.outbox_bytes.sub(signed(bytes));
        metrics.messages_failed.of(FailedMessage::ConnectionLost).inc_by(messages as u64);
    }
}

/// What a session waits for in its outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// So many messages, or a reason to close.
    Messages(usize),
    /// A reason to close: the socket takes no messages at the moment.
    Close,
    /// An abort: the reason to close is known, and the socket still takes nothing.
    Abort,
}

/// What a session finds in its outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) messages: usize,
    pub(super) closing: bool,
}

impl State {
    fn has_room(&self, bytes: usize, bounds: &OutboxConfig) -> bool {
        self.queue.len() < bounds.messages && self.bytes + bytes <= bounds.bytes
    }

    fn pop(&mut self) -> Option<Arc<Envelope>> {
        let envelope = self.queue.pop_front()?;
        self.bytes -= envelope.len();
        Some(envelope)
    }

    /// Forgets what waits: how many published messages, and how many bytes.
    fn clear(&mut self) -> (usize, usize) {
        let queue = std::mem::take(&mut self.queue);
        (queue.iter().filter(|envelope| !envelope.own).count(), std::mem::take(&mut self.bytes))
    }
}

/// Lengths of what is in memory fit easily.
pub(super) fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Outside the lock: waking may run the session's task on this very thread's queue.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope(bytes: usize) -> Arc<Envelope> {
        Envelope::new(vec![b'x'; bytes], usize::MAX).expect("ASCII")
    }

    fn bounds(bytes: usize, messages: usize, policy: OverflowPolicy) -> OutboxConfig {
        OutboxConfig { bytes, messages, policy }
    }

    #[test]
    fn policy_close_empties_the_queue_and_names_the_reason() {
        let outbox = Outbox::default();
        let bounds = bounds(10, 10, OverflowPolicy::Close);
        assert_eq!(outbox.push(&envelope(6), &bounds), Push::Queued);
        assert_eq!(outbox.push(&envelope(5), &bounds), Push::Overflow { messages: 2, bytes: 6 });
        assert_eq!(outbox.push(&envelope(1), &bounds), Push::Closed);
        assert_eq!(outbox.take_close(false).map(|close| close.code), Some(CloseCode::SlowConsumer));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn policy_drop_oldest_keeps_the_newest_in_order() {
        let outbox = Outbox::default();
        let bounds = bounds(100, 2, OverflowPolicy::DropOldest);
        assert_eq!(outbox.push(&envelope(1), &bounds), Push::Queued);
        assert_eq!(outbox.push(&envelope(2), &bounds), Push::Queued);
        assert_eq!(
            outbox.push(&envelope(3), &bounds),
            Push::DroppedOldest { messages: 1, bytes: 1, queued: true }
        );
        assert_eq!(outbox.pop().map(|e| e.len()), Some(2));
        assert_eq!(outbox.pop().map(|e| e.len()), Some(3));
    }

    #[test]
    fn a_close_waits_for_what_is_queued_and_an_abort_does_not() {
        let outbox = Outbox::default();
        let bounds = bounds(100, 10, OverflowPolicy::Close);
        outbox.push(&envelope(1), &bounds);
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
            outbox.push(&envelope(1), &bounds);
        }
        while outbox.pop().is_some() {}
        assert_eq!(outbox.state.lock().queue.capacity(), 0);
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
            let outbox = Outbox::default();
            let (mut given, mut lost, mut written, mut refused) = (0, 0, 0, 0);
            for (size, pop) in sizes.iter().zip(pops) {
                given += 1;
                match outbox.push(&envelope(*size), &bounds) {
                    Push::Queued => {}
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
}
