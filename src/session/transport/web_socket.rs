use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WireCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{Incoming, Outgoing, Transport, TransportError};

/// Allocated by every connection as soon as it is open. Clients send pongs and short texts; longer frames make it grow.
/// tungstenite's default is 128 KiB.
const READ_BUFFER_BYTES: usize = 512;

/// From how many buffered bytes on a frame is written at once instead of at the flush; not an allocation.
const WRITE_THRESHOLD_BYTES: usize = 16 * 1024;

/// What a client may send.
#[derive(Debug, Clone, Copy)]
pub struct WebSocketLimits {
    /// Largest message, and largest frame, in bytes.
    pub max_message_bytes: usize,
}

/// The real transport: a WebSocket over an upgraded stream. The one place that knows tungstenite's limits.
#[derive(Debug)]
pub struct WebSocket<S> {
    frames: WebSocketStream<S>,
    /// What comes can no longer be read as frames.
    broken: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes over a stream after its 101, with the bytes that were read behind the request.
    pub async fn accept(stream: S, read_ahead: &[u8], limits: WebSocketLimits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_THRESHOLD_BYTES)
            .max_message_size(Some(limits.max_message_bytes))
            .max_frame_size(Some(limits.max_message_bytes));
        // Copied, for it is empty mostly: the buffer it lies in is the HTTP parser's, of 8 KiB, and would stay.
        let read_ahead = read_ahead.to_vec();
        let frames =
            WebSocketStream::from_partially_read(stream, read_ahead, Role::Server, Some(config)).await;
        Self { frames, broken: false }
    }

    /// Reads on behind what could not be understood, until the peer leaves: a socket that is dropped with unread bytes
    /// is reset, and the peer may lose the close frame that tells it why.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 4096];
        // A peer that goes on sending is read a little at a time, so that it cannot hold the task.
        for _ in 0..32 {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(self.frames.get_mut()).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for WebSocket<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, TransportError>> {
        if self.broken {
            return self.poll_discard(cx).map(|()| Err(TransportError::Lost));
        }
        loop {
            let frame = match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
                Some(Ok(Message::Text(text))) => Incoming::Text(text),
                Some(Ok(Message::Binary(_))) => Incoming::Binary,
                Some(Ok(Message::Ping(_))) => Incoming::Ping,
                Some(Ok(Message::Pong(_))) => Incoming::Pong,
                Some(Ok(Message::Close(_))) => Incoming::Close,
                // Not produced by reading, says tungstenite.
                Some(Ok(Message::Frame(_))) => continue,
                Some(Err(error)) => {
                    let error = classify(&error);
                    self.broken = error != TransportError::Lost;
                    return Poll::Ready(Err(error));
                }
                None => return Poll::Ready(Err(TransportError::Lost)),
            };
            return Poll::Ready(Ok(frame));
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Pin::new(&mut self.frames).poll_ready(cx).map_err(|error| classify(&error))
    }

    fn start_send(&mut self, frame: Outgoing) -> Result<(), TransportError> {
        let message = match frame {
            Outgoing::Text(text) => Message::Text(text),
            Outgoing::Ping => Message::Ping(Bytes::new()),
            Outgoing::Close(code, reason) => Message::Close(Some(CloseFrame {
                code: WireCode::from(code),
                reason: Utf8Bytes::from(reason),
            })),
        };
        Pin::new(&mut self.frames).start_send(message).map_err(|error| classify(&error))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        ready!(Pin::new(&mut self.frames).poll_flush(cx)).map_err(|error| classify(&error))?;
        if self.broken {
            // Nothing follows the close frame, and its answer will not be understood: the end of the stream tells the
            // peer to leave.
            ready!(Pin::new(self.frames.get_mut()).poll_shutdown(cx)).map_err(|_| TransportError::Lost)?;
        }
        Poll::Ready(Ok(()))
    }
}

fn classify(error: &Error) -> TransportError {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => TransportError::TooLarge,
        Error::Utf8(_) => TransportError::InvalidUtf8,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => {
            TransportError::Lost
        }
        Error::Protocol(_) | Error::Capacity(_) => TransportError::Protocol,
        _ => TransportError::Lost,
    }
}
