use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::closing;
use super::machine::{Action, Machine};
use super::outbox::{Outbox, Waiting, Wanted};
use super::transport::{Incoming, Transport, TransportError};
use super::v1::{NotRenewed, V1};
use super::write::write_batch;
use crate::config::SessionConfig;
use crate::metrics::{ClosedWith, Metrics};
use crate::protocol::{Close, CloseCode, CorrelationId, Envelope};
use crate::trace::Route;

/// What a session shares with all others, and the id its close frame carries.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "borrowed parts that have no use in a log")]
pub struct Surroundings<'a> {
    /// The connection's queue.
    pub outbox: &'a Outbox,
    /// The settings.
    pub config: &'a SessionConfig,
    /// Where messages are counted.
    pub metrics: &'a Metrics,
    /// The upgrade's correlation id.
    pub correlation_id: CorrelationId,
    /// Whose messages they are, for the spans of their writes; none where tracing is off.
    pub route: Option<Route<'a>>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The code that metrics and logs show.
    pub with: ClosedWith,
    /// Our reason, when the service closed.
    pub close: Option<Close>,
}

/// What a session waits for.
enum Event {
    Frame(Incoming),
    Failed(TransportError),
    Queued(Waiting),
    /// What was read from history, or the hello, is to be written.
    Backlog,
    /// A fresh token was looked at.
    Renewed(Result<Instant, NotRenewed>),
    Deadline,
}

/// Runs a connection until it ends, whoever ends it; with `v1` in that mode, else in the plain one. Dropping the future
/// drops the connection without a close frame.
pub async fn run<T: Transport>(
    transport: &mut T,
    mut machine: Machine,
    mut v1: Option<Box<V1>>,
    around: Surroundings<'_>,
) -> Ended {
    let config = around.config;
    if let Some(v1) = v1.as_deref_mut() {
        v1.begins(around.outbox);
    }
    let mut timer = pin!(sleep_until(machine.deadline(config)));
    let mut wait = Wait { flushing: false, queue_first: true, closing: false, threshold: 1 };
    let ending = loop {
        let event = poll_fn(|cx| wait.poll(transport, v1.as_deref_mut(), around, timer.as_mut(), cx)).await;
        wait.queue_first = !matches!(event, Event::Queued(_) | Event::Backlog);
        let action = match event {
            Event::Frame(frame) => machine.on_frame(config, frame, Instant::now()),
            Event::Failed(error) => Machine::on_error(error).map_or(Action::Lost, Action::Close),
            Event::Queued(waiting) => {
                wait.closing = waiting.closing;
                if let Some(v1) = v1.as_deref_mut() {
                    v1.notices(waiting);
                }
                machine.on_queued(config, waiting.messages, waiting.closing, Instant::now())
            }
            Event::Backlog => Action::Write,
            Event::Renewed(renewed) => V1::renewed(renewed, around.correlation_id, &mut machine),
            Event::Deadline => machine.on_deadline(config, Instant::now()),
        };
        let action = match (action, v1.as_deref_mut()) {
            (Action::Read(text), Some(v1)) => v1.hears(&text, around.correlation_id),
            (action, _) => action,
        };
        let done = match action {
            Action::Nothing | Action::Read(_) => None,
            Action::Reply(text) => {
                around.outbox.offer(&Envelope::own(text), &config.outbox, around.metrics);
                None
            }
            Action::Ping => {
                wait.flushing = true;
                transport.start_ping().is_err().then_some(Ending::Lost)
            }
            Action::Write => {
                let written = poll_fn(|cx| {
                    let written = write_batch(transport, v1.as_deref_mut(), around, cx);
                    Poll::Ready(written.and_then(|()| wait.flush(transport, cx)))
                })
                .await;
                machine.on_written();
                match written {
                    Ok(()) if v1.as_deref().is_some_and(V1::has_backlog) || !wait.closing => None,
                    Ok(()) => around.outbox.take_close(false).map(Ending::Close),
                    Err(_) => Some(Ending::Lost),
                }
            }
            Action::GiveUp => around.outbox.take_close(true).map(Ending::Close),
            Action::Close(close) => Some(Ending::Close(close)),
            Action::Leave => Some(Ending::Left),
            Action::Lost => Some(Ending::Lost),
        };
        if let Some(ending) = done {
            break ending;
        }
        wait.threshold = machine.threshold(config);
        let deadline = machine.deadline(config);
        // Later deadlines are found out when the timer fires: moving it for each frame would cost more than that.
        if deadline < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
    };
    around.outbox.shut(around.metrics);
    match ending {
        Ending::Close(close) => {
            let invitation = v1.as_deref().and(close.reconnect);
            closing::invite(transport, invitation);
            closing::close(transport, &close, around.correlation_id, Some(around.outbox)).await;
            Ended { with: ClosedWith::Code(close.code), close: Some(close) }
        }
        Ending::Left => {
            closing::leave(transport).await;
            Ended { with: ClosedWith::Code(CloseCode::Normal), close: None }
        }
        Ending::Lost => Ended { with: ClosedWith::Lost, close: None },
    }
}

enum Ending {
    Close(Close),
    Left,
    Lost,
}

/// What the loop waits for at the moment.
struct Wait {
    /// Something was given to the transport and is not yet on the socket.
    flushing: bool,
    /// The queue has its turn: neither messages nor frames, however many come, can starve the other. First of all
    /// mostly, for it is what a task is mostly woken for.
    queue_first: bool,
    /// The outbox's reason to close is known.
    closing: bool,
    /// How many messages must wait before the queue is looked at.
    threshold: usize,
}

impl Wait {
    fn poll<T: Transport>(
        &mut self,
        transport: &mut T,
        mut v1: Option<&mut V1>,
        around: Surroundings<'_>,
        timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        let outbox = around.outbox;
        if let Some(v1) = &mut v1
            && let Poll::Ready(renewed) = v1.poll_renewal(cx)
        {
            return Poll::Ready(Event::Renewed(renewed));
        }
        let backlog = v1.is_some_and(|v1| v1.poll_backlog(outbox, around.metrics, cx));
        if self.flushing
            && let Err(error) = self.flush(transport, cx)
        {
            return Poll::Ready(Event::Failed(error));
        }
        if self.queue_first
            && let Poll::Ready(event) = self.poll_queue(backlog, outbox, cx)
        {
            return Poll::Ready(event);
        }
        if timer.poll(cx).is_ready() {
            return Poll::Ready(Event::Deadline);
        }
        if let Poll::Ready(event) = Self::poll_frame(transport, cx) {
            return Poll::Ready(event);
        }
        if self.queue_first { Poll::Pending } else { self.poll_queue(backlog, outbox, cx) }
    }

    /// Writes what the socket takes, and remembers whether something is left.
    fn flush<T: Transport>(&mut self, transport: &mut T, cx: &mut Context<'_>) -> Result<(), TransportError> {
        self.flushing = match transport.poll_flush(cx) {
            Poll::Ready(flushed) => {
                flushed?;
                false
            }
            Poll::Pending => true,
        };
        Ok(())
    }

    /// A socket that takes no more is not given more: the queue's bound then shows who reads too slowly.
    fn poll_queue(&self, backlog: bool, outbox: &Outbox, cx: &Context<'_>) -> Poll<Event> {
        let wanted = match (self.flushing, self.closing) {
            (false, _) if !backlog => Wanted::Messages(self.threshold),
            (_, false) => Wanted::Close,
            (_, true) => Wanted::Abort,
        };
        match outbox.poll(wanted, cx) {
            Poll::Pending if backlog && !self.flushing => Poll::Ready(Event::Backlog),
            found => found.map(Event::Queued),
        }
    }

    fn poll_frame<T: Transport>(transport: &mut T, cx: &mut Context<'_>) -> Poll<Event> {
        transport.poll_receive(cx).map(|received| match received {
            Ok(frame) => Event::Frame(frame),
            Err(error) => Event::Failed(error),
        })
    }
}
