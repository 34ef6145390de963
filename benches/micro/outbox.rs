//! A connection's queue, and the session that empties it, on a socket that costs nothing.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use tokio::time::Instant;
use websocket_service::config::{OutboxConfig, OverflowPolicy, SessionConfig};
use websocket_service::metrics::Metrics;
use websocket_service::protocol::{CorrelationId, Payload};
use websocket_service::session::transport::{Incoming, Transport, TransportError};
use websocket_service::session::{Machine, Outbox, Surroundings, run};
use websocket_service::trace::Route;

use crate::support::{CALLS, USUAL, envelope};

/// Takes everything at once and forgets it. The client says nothing.
struct Sink<'a> {
    sent: &'a AtomicUsize,
}

impl Transport for Sink<'_> {
    fn poll_receive(&mut self, _: &mut Context<'_>) -> Poll<Result<Incoming, TransportError>> {
        Poll::Pending
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn start_text(&mut self, _: &Payload) -> Result<(), TransportError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn start_ping(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    fn start_close(&mut self, _: u16, _: &str) -> Result<(), TransportError> {
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }
}

/// The service's own part of a delivery behind the hub: queue, wake, take, count; all but the frame and the socket. With 64,
/// what a full batch costs: divided by 64, how much of the cost of one is the waking.
#[divan::bench(args = [1, 64], sample_size = 100)]
fn offer_and_take(bencher: Bencher<'_, '_>, messages: usize) {
    through_session(bencher, messages, None);
}

/// So many messages at a time through an outbox and its session, whose writes are traced along that route.
pub(crate) fn through_session(bencher: Bencher<'_, '_>, messages: usize, route: Option<Route<'_>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _context = runtime.enter();
    let (outbox, metrics, message) = (Outbox::default(), Metrics::new(), envelope(USUAL));
    let config = SessionConfig::default();
    let sent = AtomicUsize::new(0);
    let mut sink = Sink { sent: &sent };
    let now = Instant::now();
    let machine = Machine::new(&config, now + Duration::from_secs(3600), now);
    let around = Surroundings {
        outbox: &outbox,
        config: &config,
        metrics: &metrics,
        correlation_id: CorrelationId::random(),
        route,
    };
    let mut session = pin!(run(&mut sink, machine, None, around));
    let mut context = Context::from_waker(Waker::noop());
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        for _ in 0..messages {
            outbox.offer(&message, &config.outbox, &metrics);
        }
        session.as_mut().poll(&mut context)
    });
    let (sent, waiting) = (sent.load(Ordering::Relaxed), metrics.outbox_bytes.get());
    assert!(sent > 0 && waiting == 0, "the session has taken all of it");
}

/// A full queue that drops its oldest message for each new one: what a slow client costs with that policy.
#[divan::bench(sample_size = CALLS)]
fn overflow_drops_oldest(bencher: Bencher<'_, '_>) {
    let (outbox, metrics, message) = (Outbox::default(), Metrics::new(), envelope(USUAL));
    let bounds = OutboxConfig { policy: OverflowPolicy::DropOldest, ..OutboxConfig::default() };
    for _ in 0..bounds.messages {
        outbox.offer(&message, &bounds, &metrics);
    }
    bencher.bench(|| outbox.offer(&message, &bounds, &metrics));
}

/// A full queue that is given up with everything in it, its 1,024 messages freed: what a slow client costs by default, once.
#[divan::bench(sample_size = 50)]
fn overflow_closes(bencher: Bencher<'_, '_>) {
    let (metrics, message) = (Metrics::new(), envelope(USUAL));
    let bounds = OutboxConfig::default();
    bencher
        .with_inputs(|| {
            let outbox = Outbox::default();
            for _ in 0..bounds.messages {
                outbox.offer(&message, &bounds, &metrics);
            }
            (outbox, Arc::clone(&message))
        })
        .bench_local_refs(|(outbox, message)| outbox.offer(message, &bounds, &metrics));
}
