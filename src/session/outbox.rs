use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

use super::hold::{Follow, Hold};
use crate::config::{OutboxConfig, OverflowPolicy};
use crate::metrics::{FailedMessage, Metrics};
use crate::protocol::{Close, CloseCode, Envelope, ErrorCode, EventId};

/// One connection's bounded outgoing queue, written by the hub and read by the session.
///
/// Nothing is allocated before the first message, and the queue's memory is given back when it runs empty, for most
/// connections are idle most of the time. Closing from outside goes the same way, so a session waits on one thing.
///
/// The outbox of a connection that resumes holds messages with history back while the connection catches up: what has
/// no room then, or was missed by the link, is read again.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    /// What is lost here is found in history.
    resumes: bool,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Envelope>>,
    /// Payload bytes in `queue` and in `hold`.
    bytes: usize,
    hold: Option<Box<Hold>>,
    close: Option<Box<Close>>,
    aborted: bool,
    waker: Option<Waker>,
    /// The last message with history that was given to the socket.
    last_id: Option<EventId>,
}

/// How an outbox stands, for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Messages that wait, those included that are held back while the connection catches up.
    pub messages: usize,
    /// Their payload, in bytes.
    pub bytes: usize,
    /// The last message with history that was given to the socket, live or read from history.
    pub last_id: Option<EventId>,
}

/// What became of a message given to an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It waits to be written.
    Queued,
    /// It is held back until the connection has caught up, or is read again then.
    Held,
    /// So many older ones were dropped for it.
    DroppedOldest {
        /// Messages that were dropped; the new one itself where it alone is larger than the bound.
        messages: usize,
        /// Whether the new message is in the queue.
        queued: bool,
    },
    /// No room: the queue was emptied and the connection closes with 4002.
    Overflow {
        /// Messages lost with it, the new one included.
        messages: usize,
    },
    /// The connection is closing already.
    Closed,
}

impl Outbox {
    /// The outbox of a connection that resumes. It holds back until its session has caught up.
    #[must_use]
    pub fn resuming() -> Self {
        let state = State { hold: Some(Box::new(Hold::reading())), ..State::default() };
        Self { state: Mutex::new(state), resumes: true }
    }

    /// Whether the connection resumes.
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.resumes
    }

    /// What waits, and how far the connection got.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let state = self.state.lock();
        let held = state.hold.as_ref().map_or(0, |hold| hold.kept.len());
        Standing { messages: state.queue.len() + held, bytes: state.bytes, last_id: state.last_id }
    }

    /// Queues a message, or applies the overflow policy, and counts what happened.
    pub fn offer(&self, envelope: &Arc<Envelope>, bounds: &OutboxConfig, metrics: &Metrics) -> Push {
        let mut state = self.state.lock();
        let before = state.bytes;
        let push = state.push(envelope, bounds, self.resumes);
        let change = signed(state.bytes) - signed(before);
        match push {
            Push::Closed => drop(state),
            _ => wake(state),
        }
        metrics.outbox_bytes.add(change);
        let (messages, why) = match push {
            Push::Queued | Push::Held | Push::Closed => return push,
            Push::DroppedOldest { messages, .. } => (messages, FailedMessage::DroppedOldest),
            Push::Overflow { messages } => (messages, FailedMessage::OutboxFull),
        };
        metrics.messages_failed.of(why).inc_by(messages as u64);
        push
    }

    /// The link is cut: what comes later may not follow on what came before, so a connection that resumes holds back.
    pub fn cut(&self, metrics: &Metrics) {
        if !self.resumes {
            return;
        }
        let mut state = self.state.lock();
        let freed = state.hold.get_or_insert_default().cut();
        state.bytes -= freed;
        drop(state);
        metrics.outbox_bytes.sub(signed(freed));
    }

    /// The link is there again: a connection that held back reads what it missed.
    pub fn restored(&self) {
        let mut state = self.state.lock();
        let Some(hold) = &mut state.hold else { return };
        hold.restored();
        wake(state);
    }

    /// Ends the connection once what is queued was written. The first reason stays.
    pub fn close(&self, close: Close) {
        let mut state = self.state.lock();
        state.close.get_or_insert_with(|| Box::new(close));
        wake(state);
    }

    /// Ends the connection at once, whatever is queued and whether the peer answers or not.
    pub fn abort(&self, close: Close) {
        let mut state = self.state.lock();
        state.aborted = true;
        state.close.get_or_insert_with(|| Box::new(close));
        wake(state);
    }

    /// Ready once there is what the session waits for; until then, wakes its task when something happens here.
    pub(super) fn poll(&self, wanted: Wanted, cx: &Context<'_>) -> Poll<Waiting> {
        let mut state = self.state.lock();
        let closing = state.close.is_some();
        // What is queued is older than what will be read, so it goes first.
        let behind = state.queue.is_empty() && state.hold.as_ref().is_some_and(|hold| hold.is_news());
        let ready = match wanted {
            Wanted::Messages(count) => state.queue.len() >= count || closing || behind,
            Wanted::Close => closing,
            Wanted::Abort => state.aborted,
        };
        if ready {
            // Once: a session that reads already would be woken by this for ever, and keep its thread from that read.
            if behind && let Some(hold) = &mut state.hold {
                hold.tell();
            }
            return Poll::Ready(Waiting { messages: state.queue.len(), closing, behind });
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The session begins to read from history.
    pub(super) fn begin_read(&self) {
        if let Some(hold) = &mut self.state.lock().hold {
            hold.begin_read();
        }
    }

    /// The session has read all there was: what was held back meanwhile follows, if that is all that came.
    pub(super) fn follow(&self) -> Follow {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(hold) = &mut state.hold else { return Follow::Live };
        let follow = hold.follow();
        if follow == Follow::Live {
            state.queue.append(&mut hold.kept);
            state.hold = None;
        }
        follow
    }

    /// The next message to write. It counts as written: noting that here spares a lock for each message.
    pub(super) fn pop(&self) -> Option<Next> {
        let mut state = self.state.lock();
        let envelope = state.pop()?;
        let more = !state.queue.is_empty();
        if !more {
            state.queue = VecDeque::new();
        }
        let before = state.last_id;
        state.last_id = envelope.id().or(before);
        Some(Next { envelope, more, before })
    }

    /// Notes how far the connection got where that is not what was popped last.
    pub(super) fn got_to(&self, last_id: Option<EventId>) {
        self.state.lock().last_id = last_id;
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
        let bytes = state.bytes;
        let messages = state.clear(self.resumes);
        drop(state);
        metrics.outbox_bytes.sub(signed(bytes));
        metrics.messages_failed.of(FailedMessage::ConnectionLost).inc_by(messages as u64);
    }
}

/// What a session waits for in its outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// So many messages, a reason to close, or to read from history.
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
    /// Messages were missed: they are to be read from history.
    pub(super) behind: bool,
}

/// A message that leaves an outbox, and whether another waits behind it.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) envelope: Arc<Envelope>,
    pub(super) more: bool,
    /// How far the connection had got before it.
    pub(super) before: Option<EventId>,
}

impl State {
    fn push(&mut self, envelope: &Arc<Envelope>, bounds: &OutboxConfig, resumes: bool) -> Push {
        if self.close.is_some() || self.aborted {
            return Push::Closed;
        }
        let in_history = resumes && envelope.id().is_some();
        if !self.has_room(envelope.len(), bounds)
            && let Some(hold) = &mut self.hold
        {
            self.bytes -= hold.miss();
        }
        let room = self.has_room(envelope.len(), bounds);
        if let Some(hold) = &mut self.hold
            && in_history
        {
            // Without room it is one of those that are read again.
            if room {
                self.bytes += envelope.len();
                hold.kept.push_back(Arc::clone(envelope));
            }
            return Push::Held;
        }
        if !room {
            match bounds.policy {
                OverflowPolicy::Close => return self.overflow(resumes),
                OverflowPolicy::DropOldest if resumes => {
                    self.fall_behind();
                    if in_history {
                        return Push::Held;
                    }
                }
                OverflowPolicy::DropOldest => {}
            }
        }
        let mut dropped = 0;
        while !self.has_room(envelope.len(), bounds) {
            dropped += 1;
            if self.pop().is_none() {
                return Push::DroppedOldest { messages: dropped, queued: false };
            }
        }
        self.bytes += envelope.len();
        self.queue.push_back(Arc::clone(envelope));
        if dropped == 0 { Push::Queued } else { Push::DroppedOldest { messages: dropped, queued: true } }
    }

    fn overflow(&mut self, resumes: bool) -> Push {
        let messages = self.clear(resumes);
        let close = Close::with_code(CloseCode::SlowConsumer, ErrorCode::Connection, "Reads too slowly");
        self.close = Some(Box::new(close));
        Push::Overflow { messages: messages + 1 }
    }

    /// Nothing is lost for a connection that resumes: what is in history leaves the queue, and is read again.
    fn fall_behind(&mut self) {
        let mut freed = 0;
        self.queue.retain(|envelope| {
            let stays = envelope.id().is_none();
            freed += if stays { 0 } else { envelope.len() };
            stays
        });
        self.bytes -= freed;
        // One that holds back already reads again, on a cut link when its turn comes.
        self.hold.get_or_insert_with(|| Box::new(Hold::due()));
    }

    fn has_room(&self, bytes: usize, bounds: &OutboxConfig) -> bool {
        let held = self.hold.as_ref().map_or(0, |hold| hold.kept.len());
        self.queue.len() + held < bounds.messages && self.bytes + bytes <= bounds.bytes
    }

    fn pop(&mut self) -> Option<Arc<Envelope>> {
        let envelope = self.queue.pop_front()?;
        self.bytes -= envelope.len();
        Some(envelope)
    }

    /// Forgets what waits; returns how many published messages are lost by that.
    fn clear(&mut self, resumes: bool) -> usize {
        let queue = std::mem::take(&mut self.queue);
        self.hold = None;
        self.bytes = 0;
        let found_again = |envelope: &Envelope| resumes && envelope.id().is_some();
        queue.iter().filter(|envelope| !envelope.is_own() && !found_again(envelope)).count()
    }
}

/// Lengths of what is in memory fit easily.
pub(super) fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Wakes the session outside the lock: waking may run its task on this very thread's queue.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
