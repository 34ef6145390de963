//! The end of a connection: the close frame, and the wait that lets the peer read it.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use super::outbox::{Outbox, Wanted};
use super::transport::{Incoming, Transport};
use crate::protocol::{Close, CorrelationId, Reconnect, frame};

/// How long the close frame's way out and the peer's answer are waited for. Leaving earlier lets the kernel reset the
/// connection, and the peer never learns the code; longer only keeps the place of a peer that is gone.
pub const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Tells a client in v1 mode when to come back; the close frame that follows flushes it.
pub(super) fn invite<T: Transport>(transport: &mut T, invitation: Option<Reconnect>) {
    if let Some(Reconnect { after, reason }) = invitation {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        // What cannot be sent now cannot be closed either: the next step finds out.
        let _ = transport.start_text(&frame::reconnect(after_ms, reason).into());
    }
}

/// Sends the close frame and waits for the peer's, at most [`CLOSE_WAIT`]; or until the outbox is aborted.
pub async fn close<T: Transport>(
    transport: &mut T,
    close: &Close,
    correlation_id: CorrelationId,
    outbox: Option<&Outbox>,
) {
    if transport.start_close(close.code.number(), &close.reason(correlation_id)).is_err() {
        return;
    }
    let mut flushed = false;
    let peer_closed = poll_fn(|cx| {
        if !flushed {
            match transport.poll_flush(cx) {
                Poll::Ready(Ok(())) => flushed = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if outbox.is_some_and(|outbox| outbox.poll(Wanted::Abort, cx).is_ready()) {
            return Poll::Ready(());
        }
        poll_closed(transport, cx)
    });
    // The wait is a bound, not an outcome: either way the connection ends here.
    let _ = timeout(CLOSE_WAIT, peer_closed).await;
}

/// The client closed: sends the transport's answer, at most [`CLOSE_WAIT`] long.
pub(super) async fn leave<T: Transport>(transport: &mut T) {
    let _ = timeout(CLOSE_WAIT, poll_fn(|cx| transport.poll_flush(cx))).await;
}

/// Reads and forgets frames up to the peer's close.
fn poll_closed<T: Transport>(transport: &mut T, cx: &mut Context<'_>) -> Poll<()> {
    // A peer that goes on sending is read a little at a time, so that it cannot hold the task.
    for _ in 0..32 {
        match transport.poll_receive(cx) {
            Poll::Ready(Ok(Incoming::Close) | Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(_)) => {}
            Poll::Pending => return Poll::Pending,
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
