//! From messages to the bytes on the socket. A server's frames are not masked, so a payload goes out as it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::protocol::Payload;

/// Payloads up to so many bytes are copied behind their header, so that a batch is one plain write; longer ones are
/// written from where they lie, shared by all connections, which a second slice in the system call is worth.
const COPIED_BYTES: usize = 4 * 1024;

/// From so many bytes on, what was gathered is written before more is taken. One system call for some fifty small
/// messages; about what a socket's buffer takes at once.
const GATHERED_BYTES: usize = 16 * 1024;

/// Longest header of a frame that is not masked.
const MAX_HEADER_BYTES: usize = 10;

/// Frames that are not on the socket yet. Between two batches it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    /// A long payload that follows `bytes`.
    tail: Option<Payload>,
    /// What of both is written already.
    written: usize,
}

impl Unsent {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether a further frame has its place here without a write before.
    pub(super) fn has_room(&self) -> bool {
        self.tail.is_none() && self.bytes.len() < GATHERED_BYTES
    }

    /// Adds a text frame.
    pub(super) fn text(&mut self, payload: &Payload) {
        if payload.len() <= COPIED_BYTES {
            return self.frame(OpCode::Data(Data::Text), payload.as_bytes());
        }
        self.header(OpCode::Data(Data::Text), payload.len());
        self.tail = Some(payload.clone());
    }

    /// Adds a frame with a copy of its payload.
    pub(super) fn frame(&mut self, opcode: OpCode, payload: &[u8]) {
        if self.bytes.is_empty() {
            // Most batches are one message: one allocation of its size.
            self.bytes.reserve(MAX_HEADER_BYTES + payload.len());
        }
        self.header(opcode, payload.len());
        self.bytes.extend_from_slice(payload);
    }

    fn header(&mut self, opcode: OpCode, length: usize) {
        // Seldom: whoever asks for room first finds none behind a long payload.
        if let Some(tail) = self.tail.take() {
            self.bytes.extend_from_slice(tail.as_bytes());
        }
        let header = FrameHeader { opcode, ..FrameHeader::default() };
        // A Vec takes all that is written to it.
        let _ = header.format(length as u64, &mut self.bytes);
    }

    /// Writes until nothing is left, or the socket takes no more.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let bytes = self.bytes.get(self.written..).unwrap_or_default();
            let written = match &self.tail {
                None => ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?,
                Some(tail) => {
                    let passed = self.written.saturating_sub(self.bytes.len());
                    let tail = &tail.as_bytes()[passed..];
                    let slices = [IoSlice::new(bytes), IoSlice::new(tail)];
                    ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            if self.written == self.bytes.len() + self.tail.as_ref().map_or(0, |tail| tail.len()) {
                *self = Self::default();
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
