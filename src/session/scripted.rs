//! A connection whose client is the test: frames go in by hand, what the session sends is looked at, and the socket
//! can refuse to take more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::transport::{Incoming, Transport, TransportError};
use super::{Ended, Machine, Outbox, Push, Surroundings, V1, run};
use crate::config::SessionConfig;
use crate::metrics::Metrics;
use crate::protocol::{CorrelationId, Envelope, Payload};

/// Longest that a test waits for what a session sends. Paused time makes it a moment.
const BOUND: Duration = Duration::from_secs(24 * 3600);

/// What the session sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Text(Payload),
    Ping,
    Close(u16, String),
}

#[derive(Default)]
struct State {
    incoming: VecDeque<Result<Incoming, TransportError>>,
    buffered: Vec<Outgoing>,
    sent: Vec<Outgoing>,
    flushes: usize,
    blocked: bool,
    /// A close frame was given, by the session or as the answer to the client's.
    closing: bool,
    wakers: Vec<Waker>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    written: Notify,
}

/// The session's side.
pub(crate) struct Scripted(Arc<Shared>);

/// The test's side.
#[derive(Clone)]
pub(crate) struct Client(Arc<Shared>);

pub(crate) fn connection() -> (Scripted, Client) {
    let shared = Arc::new(Shared::default());
    (Scripted(Arc::clone(&shared)), Client(shared))
}

/// A session under way on such a connection, its token good for an hour.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) config: SessionConfig,
    pub(crate) task: JoinHandle<Ended>,
}

impl Session {
    pub(crate) fn start(
        outbox: Outbox,
        v1: Option<Box<V1>>,
        config: SessionConfig,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (mut transport, client) = connection();
        let outbox = Arc::new(outbox);
        let now = Instant::now();
        let machine = Machine::new(&config, now + Duration::from_secs(3600), now);
        let machine = if v1.is_some() { machine.v1() } else { machine };
        let task = tokio::spawn({
            let (outbox, metrics, config) = (Arc::clone(&outbox), Arc::clone(&metrics), config.clone());
            async move {
                let around = Surroundings {
                    outbox: &outbox,
                    config: &config,
                    metrics: &metrics,
                    correlation_id: CorrelationId::random(),
                    route: None,
                };
                run(&mut transport, machine, v1, around).await
            }
        });
        Self { client, outbox, metrics, config, task }
    }

    /// Gives it a message, as the hub does.
    pub(crate) fn offer(&self, envelope: &Arc<Envelope>) -> Push {
        self.outbox.offer(envelope, &self.config.outbox, &self.metrics)
    }
}

impl Client {
    pub(crate) fn sends(&self, frame: Incoming) {
        self.change(|state| state.incoming.push_back(Ok(frame)));
    }

    pub(crate) fn fails(&self, error: TransportError) {
        self.change(|state| state.incoming.push_back(Err(error)));
    }

    /// The socket's buffer is full, or no longer.
    pub(crate) fn reads(&self, reads: bool) {
        self.change(|state| state.blocked = !reads);
    }

    /// Everything that reached the socket so far.
    pub(crate) fn received(&self) -> Vec<Outgoing> {
        self.0.state.lock().sent.clone()
    }

    pub(crate) fn flushes(&self) -> usize {
        self.0.state.lock().flushes
    }

    /// Waits until so many frames reached the socket.
    pub(crate) async fn has_received(&self, count: usize) -> Vec<Outgoing> {
        self.comes_to(|received| received.len() >= count).await
    }

    /// Waits until the close frame reached the socket.
    pub(crate) async fn has_closed(&self) {
        self.comes_to(|received| received.iter().any(|frame| matches!(frame, Outgoing::Close(..)))).await;
    }

    async fn comes_to(&self, enough: impl Fn(&[Outgoing]) -> bool) -> Vec<Outgoing> {
        let waiting = async {
            loop {
                let written = self.0.written.notified();
                let received = self.received();
                if enough(&received) {
                    return received;
                }
                written.await;
            }
        };
        let waited = timeout(BOUND, waiting).await;
        waited.unwrap_or_else(|_| panic!("that is all within a day: {:?}", self.received()))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Scripted {
    fn give(&self, frame: Outgoing) {
        self.0.state.lock().buffered.push(frame);
    }
}

impl Transport for Scripted {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, TransportError>> {
        let mut state = self.0.state.lock();
        if let Some(frame) = state.incoming.pop_front() {
            if frame == Ok(Incoming::Close) && !std::mem::replace(&mut state.closing, true) {
                state.buffered.push(Outgoing::Close(1000, String::new()));
            }
            return Poll::Ready(frame);
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.0.state.lock().blocked { self.poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    fn start_text(&mut self, text: &Payload) -> Result<(), TransportError> {
        self.give(Outgoing::Text(text.clone()));
        Ok(())
    }

    fn start_ping(&mut self) -> Result<(), TransportError> {
        self.give(Outgoing::Ping);
        Ok(())
    }

    fn start_close(&mut self, code: u16, reason: &str) -> Result<(), TransportError> {
        self.give(Outgoing::Close(code, reason.to_owned()));
        self.0.state.lock().closing = true;
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut state = self.0.state.lock();
        if state.blocked {
            state.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        if !state.buffered.is_empty() {
            let buffered = std::mem::take(&mut state.buffered);
            state.sent.extend(buffered);
            state.flushes += 1;
            self.0.written.notify_waiters();
        }
        Poll::Ready(Ok(()))
    }
}
