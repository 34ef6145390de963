use std::task::{Context, Poll};
use std::time::SystemTime;

use tokio::time::Instant;

use super::outbox::signed;
use super::run::Surroundings;
use super::transport::{Transport, TransportError};
use super::v1::{V1, gap_frame};
use crate::history::Live;
use crate::trace::Route;

/// Gives the transport as many queued messages as one flush may hold, or as the socket takes.
pub(super) fn write_batch<T: Transport>(
    transport: &mut T,
    mut v1: Option<&mut V1>,
    around: Surroundings<'_>,
    cx: &mut Context<'_>,
) -> Result<(), TransportError> {
    let mut sent = 0;
    let (mut bytes, mut size) = (0, 0);
    let mut more = true;
    let now = Instant::now();
    // Read at most once a flush: the clock that ids are measured by costs as much as an observation.
    let mut wall = None;
    let mut flush = around.route.and_then(Route::flush);
    for _ in 0..around.config.batch_max_messages {
        match transport.poll_ready(cx) {
            Poll::Pending => break,
            Poll::Ready(ready) => ready?,
        }
        let read = v1.as_deref_mut().and_then(|v1| v1.backlog.pop_front());
        let live = read.is_none();
        let (envelope, before) = match read {
            Some(envelope) => {
                if envelope.id().is_some() {
                    around.outbox.got_to(envelope.id());
                }
                (envelope, None)
            }
            None if more => {
                let Some(next) = around.outbox.pop() else { break };
                bytes += next.envelope.len();
                more = next.more;
                (next.envelope, next.before)
            }
            None => break,
        };
        match v1.as_deref_mut() {
            None => transport.start_text(&envelope.payload)?,
            Some(v1) => {
                match if live { v1.joins(&envelope) } else { Live::Send } {
                    Live::Send => {}
                    Live::Repeated => {
                        around.outbox.got_to(before);
                        continue;
                    }
                    Live::SendAfter(gap) => {
                        around.metrics.gaps.inc();
                        transport.start_text(&gap_frame(gap).into())?;
                    }
                }
                transport.start_text(envelope.framed())?;
            }
        }
        if !envelope.is_own() {
            sent += 1;
            size += envelope.len();
            if let Some(flush) = &mut flush {
                flush.carries(envelope.traceparent(), envelope.received);
            }
            around.metrics.delivery_latency.observe((now - envelope.received).as_secs_f64());
            // What was read from history may be a day old, which says nothing of this pod.
            if live && let Some(id) = envelope.id() {
                let now = *wall.get_or_insert_with(SystemTime::now);
                around.metrics.publish_latency.observe(id.age(now).as_secs_f64());
            }
        }
    }
    around.metrics.outbox_bytes.sub(signed(bytes));
    if sent > 0 {
        around.metrics.flush_messages.observe(sent as f64);
        around.metrics.messages_sent.inc_by(sent);
        if let Some(flush) = flush {
            flush.written(sent, size, now);
        }
    }
    Ok(())
}
