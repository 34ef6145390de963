use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

use super::receive::{Received, Receiver};
use super::send::Unsent;
use super::{Incoming, Transport, TransportError};
use crate::protocol::Payload;

/// What is read from a socket at once, on the stack: pongs and short texts, as a rule.
const READ_BYTES: usize = 4 * 1024;

/// What a client may send.
#[derive(Debug, Clone, Copy)]
pub struct WebSocketLimits {
    /// Largest message, in bytes.
    pub max_message_bytes: usize,
}

/// The real transport: a WebSocket over an upgraded stream. Idle, it holds no buffer.
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: S,
    receiver: Receiver,
    unsent: Unsent,
    /// The payload of a ping that came while the socket took nothing. Answering the latest is enough (RFC 6455 §5.5.3).
    owed_pong: Option<Vec<u8>>,
    /// An answer to the client is to be written, whether or not the session writes.
    answering: bool,
    /// What comes can no longer be read as frames.
    broken: bool,
    /// A close frame was given: no other frame may follow.
    closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes over a stream after its 101, with the bytes that were read behind the request.
    pub fn accept(stream: S, read_ahead: &[u8], limits: WebSocketLimits) -> Self {
        Self {
            stream,
            receiver: Receiver::new(read_ahead, limits.max_message_bytes),
            unsent: Unsent::default(),
            owed_pong: None,
            answering: false,
            broken: false,
            closing: false,
        }
    }

    /// Reads what there is into the receiver. An end of the stream is a loss, for a close frame should come before.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut bytes = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).map_err(lost)?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(TransportError::Lost));
        }
        self.receiver.push(buffer.filled());
        Poll::Ready(Ok(()))
    }

    /// Reads on behind what could not be understood, until the peer leaves: a socket that is dropped with unread bytes
    /// is reset, and the peer may lose the close frame that tells it why.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        // A peer that goes on sending is read a little at a time, so that it cannot hold the task.
        for _ in 0..32 {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Where a further frame goes, as long as no close frame was given.
    fn open(&mut self) -> Result<&mut Unsent, TransportError> {
        if self.closing { Err(TransportError::Lost) } else { Ok(&mut self.unsent) }
    }

    /// Notes the answer that the protocol wants to a frame.
    fn answer(&mut self, received: Received) -> Incoming {
        match received {
            Received::Text(text) => Incoming::Text(text),
            Received::Binary => Incoming::Binary,
            Received::Pong => Incoming::Pong,
            Received::Ping(payload) => {
                self.owed_pong = Some(payload);
                self.answering = true;
                Incoming::Ping
            }
            Received::Close(code) => {
                if !self.closing {
                    let code = code.map(u16::to_be_bytes);
                    self.unsent
                        .frame(OpCode::Control(Control::Close), code.as_ref().map_or(&[], |code| &code[..]));
                    self.closing = true;
                }
                Incoming::Close
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for WebSocket<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, TransportError>> {
        if self.answering && self.poll_flush(cx)?.is_ready() {
            self.answering = false;
        }
        if self.broken {
            return self.poll_discard(cx).map(|()| Err(TransportError::Lost));
        }
        loop {
            match self.receiver.next() {
                Ok(Some(received)) => return Poll::Ready(Ok(self.answer(received))),
                Ok(None) => ready!(self.poll_read(cx))?,
                Err(error) => {
                    self.broken = true;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.unsent.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.unsent.poll_write(&mut self.stream, cx).map_err(lost)
    }

    fn start_text(&mut self, text: &Payload) -> Result<(), TransportError> {
        self.open()?.text(text);
        Ok(())
    }

    fn start_ping(&mut self) -> Result<(), TransportError> {
        self.open()?.frame(OpCode::Control(Control::Ping), &[]);
        Ok(())
    }

    fn start_close(&mut self, code: u16, reason: &str) -> Result<(), TransportError> {
        self.open()?
            .frame(OpCode::Control(Control::Close), &[&code.to_be_bytes(), reason.as_bytes()].concat());
        self.closing = true;
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        ready!(self.unsent.poll_write(&mut self.stream, cx)).map_err(lost)?;
        if let Some(payload) = self.owed_pong.take()
            && !self.closing
        {
            self.unsent.frame(OpCode::Control(Control::Pong), &payload);
            ready!(self.unsent.poll_write(&mut self.stream, cx)).map_err(lost)?;
        }
        // TLS may hold some of it back.
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(lost)?;
        if self.broken && self.closing {
            // Nothing follows the close frame, and its answer will not be understood: the end of the stream tells the
            // peer to leave.
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).map_err(lost)?;
        }
        Poll::Ready(Ok(()))
    }
}

/// Why a socket failed does not matter: nobody can be told.
fn lost(_: io::Error) -> TransportError {
    TransportError::Lost
}

#[cfg(test)]
#[path = "web_socket_tests.rs"]
mod tests;
