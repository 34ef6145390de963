use std::task::{Context, Poll};

use tokio::time::Instant;

use super::outbox::signed;
use super::run::Surroundings;
use super::transport::{Transport, TransportError};
use super::v1::{V1, gap_frame};
use crate::history::Live;

/// Gives the transport as many queued messages as one flush may hold, or as the socket takes.
pub(super) fn write_batch<T: Transport>(
    transport: &mut T,
    mut v1: Option<&mut V1>,
    around: Surroundings<'_>,
    cx: &mut Context<'_>,
) -> Result<(), TransportError> {
    let mut sent = 0;
    let mut bytes = 0;
    let mut more = true;
    let now = Instant::now();
    for _ in 0..around.config.batch_max_messages {
        match transport.poll_ready(cx) {
            Poll::Pending => break,
            Poll::Ready(ready) => ready?,
        }
        let read = v1.as_deref_mut().and_then(|v1| v1.backlog.pop_front());
        let live = read.is_none();
        let envelope = match read {
            Some(envelope) => envelope,
            None if more => {
                let Some(next) = around.outbox.pop() else { break };
                bytes += next.envelope.len();
                more = next.more;
                next.envelope
            }
            None => break,
        };
        match v1.as_deref_mut() {
            None => transport.start_text(&envelope.payload)?,
            Some(v1) => {
                match if live { v1.joins(&envelope) } else { Live::Send } {
                    Live::Send => {}
                    Live::Repeated => continue,
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
            around.metrics.delivery_latency.observe((now - envelope.received).as_secs_f64());
        }
    }
    around.metrics.outbox_bytes.sub(signed(bytes));
    around.metrics.messages_sent.inc_by(sent);
    Ok(())
}
