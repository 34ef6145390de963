//! A WebSocket client that costs its machine little: one `read` for whatever has come, into a buffer that all share, and a
//! look at each frame where it lies. A load that shares a core with what it measures must not be the larger part.
//!
//! It reads what servers of this field write: whole frames, without extensions.

mod frame;
mod handshake;

use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

pub(super) use handshake::Upgrade;

/// Bytes that one `read` can bring.
const READ_BYTES: usize = 64 * 1024;

/// A close frame without a code (RFC 6455 §7.4.1).
const NO_CODE: u16 = 1005;

/// Memory that all connections of a run read into, one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch(Arc<Mutex<Vec<u8>>>);

/// What a server sent; pings are answered here.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// A text, or binary.
    Data(&'a [u8]),
    /// A close frame with its code.
    Close(u16),
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come yet; empty as a rule.
    rest: Vec<u8>,
    /// What the socket has not taken yet; empty as a rule.
    out: Vec<u8>,
    /// `rest` was not looked at yet: it came with the answer to the upgrade, or behind the frame that a reader stopped at.
    unread: bool,
}

impl Wire {
    fn new(stream: TcpStream, rest: &[u8]) -> Self {
        Self { stream, rest: rest.to_vec(), out: Vec::new(), unread: !rest.is_empty() }
    }

    /// Queues a text; the next poll sends it.
    pub(super) fn text(&mut self, text: &[u8]) {
        frame::write(&mut self.out, OpCode::Data(Data::Text), text);
    }

    /// Queues a close frame.
    pub(super) fn close(&mut self, code: u16) {
        frame::write(&mut self.out, OpCode::Control(Control::Close), &code.to_be_bytes());
    }

    /// Sends what is queued and reads once; each whole frame goes to `each`, until it breaks: what is behind that one is for the
    /// next call. Pending when nothing has come.
    ///
    /// # Errors
    /// When the connection is lost or ended, or sends what cannot be read here.
    pub(super) fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        each: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Poll<io::Result<()>> {
        self.poll_send(cx)?;
        let mut scratch = scratch.0.lock();
        let kept = self.rest.len();
        if scratch.len() < kept + READ_BYTES {
            scratch.resize(kept + READ_BYTES, 0);
        }
        scratch[..kept].copy_from_slice(&self.rest);
        let mut came = 0;
        if !std::mem::take(&mut self.unread) {
            let mut buffer = ReadBuf::new(&mut scratch[kept..]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            came = buffer.filled().len();
            if came == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let mut bytes = &scratch[..kept + came];
        while let Some(found) = frame::read(bytes)? {
            bytes = found.rest;
            let on = match found.opcode {
                OpCode::Data(_) => each(Frame::Data(found.payload)),
                OpCode::Control(Control::Close) => each(Frame::Close(code(found.payload))),
                OpCode::Control(Control::Ping) => {
                    frame::write(&mut self.out, OpCode::Control(Control::Pong), found.payload);
                    ControlFlow::Continue(())
                }
                OpCode::Control(_) => ControlFlow::Continue(()),
            };
            if on.is_break() {
                self.unread = !bytes.is_empty();
                break;
            }
        }
        match bytes {
            // Thousands of idle connections hold no memory for this.
            [] => self.rest = Vec::new(),
            bytes => self.rest = bytes.to_vec(),
        }
        drop(scratch);
        self.poll_send(cx)?;
        Poll::Ready(Ok(()))
    }

    /// Writes what the socket takes now; the rest goes when it can take more.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.stream.poll_write_ready(cx).is_pending() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if self.out.capacity() > 0 {
            self.out = Vec::new();
        }
        Ok(())
    }
}

fn code(payload: &[u8]) -> u16 {
    match payload {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => NO_CODE,
    }
}
