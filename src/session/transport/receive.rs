//! From the bytes that a client sends to its messages: RFC 6455 §5, the server's side.
//!
//! Not tungstenite's reader: that one holds a buffer for each connection all its life, and an idle connection, which most
//! are, should hold none.

use std::io::Cursor;

use bytes::{Buf, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::TransportError;
use crate::protocol::Payload;

/// Longest payload of a control frame, in bytes (RFC 6455 §5.5).
const MAX_CONTROL_BYTES: usize = 125;

/// What a client sent, unmasked and put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Received {
    Text(Payload),
    Binary,
    /// Wants a pong with the same payload.
    Ping(Vec<u8>),
    Pong,
    /// Wants a close frame with the same code, where it has one.
    Close(Option<u16>),
}

/// Puts frames together. Between two messages it holds no memory.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Bytes that are not a whole frame yet, and frames that were not taken yet.
    unread: BytesMut,
    /// The beginning of a message whose end has not come.
    begun: Option<Box<Begun>>,
    max_message_bytes: usize,
}

#[derive(Debug)]
struct Begun {
    opcode: Data,
    payload: Vec<u8>,
}

impl Receiver {
    pub(super) fn new(read_ahead: &[u8], max_message_bytes: usize) -> Self {
        Self { unread: BytesMut::from(read_ahead), begun: None, max_message_bytes }
    }

    /// Takes what was read from the socket.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next message or control frame; `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`TransportError`] when these bytes, and all that follow, make no sense.
    pub(super) fn next(&mut self) -> Result<Option<Received>, TransportError> {
        loop {
            if self.unread.is_empty() {
                self.unread = BytesMut::new();
                return Ok(None);
            }
            let Some((header, payload)) = self.frame()? else { return Ok(None) };
            let received = match header.opcode {
                OpCode::Control(control) => Some(of_control(control, payload)?),
                OpCode::Data(data) => self.data(data, header.is_final, payload)?,
            };
            if received.is_some() {
                return Ok(received);
            }
        }
    }

    /// Takes one whole frame, if there is one. What its header says is judged before its payload is waited for.
    fn frame(&mut self) -> Result<Option<(FrameHeader, Vec<u8>)>, TransportError> {
        let mut cursor = Cursor::new(&self.unread[..]);
        // Bytes in memory fail in one way: by an opcode without a meaning.
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| TransportError::Protocol)?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let start = usize::try_from(cursor.position()).map_err(|_| TransportError::TooLarge)?;
        // No extension was agreed on, so no reserved bit has a meaning; and a client must mask (§5.1).
        let Some(mask) = header.mask.filter(|_| !(header.rsv1 || header.rsv2 || header.rsv3)) else {
            return Err(TransportError::Protocol);
        };
        if matches!(header.opcode, OpCode::Control(_))
            && (!header.is_final || length > MAX_CONTROL_BYTES as u64)
        {
            return Err(TransportError::Protocol);
        }
        let room = match header.opcode {
            OpCode::Control(_) => MAX_CONTROL_BYTES,
            OpCode::Data(_) => {
                self.max_message_bytes - self.begun.as_ref().map_or(0, |begun| begun.payload.len())
            }
        };
        let length =
            usize::try_from(length).ok().filter(|length| *length <= room).ok_or(TransportError::TooLarge)?;
        let Some(masked) = self.unread.get(start..start + length) else { return Ok(None) };
        let payload = unmasked(masked, mask);
        self.unread.advance(start + length);
        Ok(Some((header, payload)))
    }

    fn data(
        &mut self,
        data: Data,
        is_final: bool,
        payload: Vec<u8>,
    ) -> Result<Option<Received>, TransportError> {
        let message = match (data, self.begun.take()) {
            (Data::Continue, Some(mut begun)) => {
                begun.payload.extend_from_slice(&payload);
                begun
            }
            (opcode @ (Data::Text | Data::Binary), None) => Box::new(Begun { opcode, payload }),
            // A continuation of nothing, a message within a message, an opcode without a meaning.
            _ => return Err(TransportError::Protocol),
        };
        if !is_final {
            self.begun = Some(message);
            return Ok(None);
        }
        match message.opcode {
            Data::Text => {
                let text = String::from_utf8(message.payload).map_err(|_| TransportError::InvalidUtf8)?;
                Ok(Some(Received::Text(text.into())))
            }
            _ => Ok(Some(Received::Binary)),
        }
    }
}

fn of_control(control: Control, payload: Vec<u8>) -> Result<Received, TransportError> {
    match control {
        Control::Ping => Ok(Received::Ping(payload)),
        Control::Pong => Ok(Received::Pong),
        Control::Close => close(&payload),
        Control::Reserved(_) => Err(TransportError::Protocol),
    }
}

/// The code of a close frame; without one it is as good.
fn close(payload: &[u8]) -> Result<Received, TransportError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(Received::Close(None)) } else { Err(TransportError::Protocol) };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(TransportError::Protocol);
    }
    std::str::from_utf8(reason).map_err(|_| TransportError::InvalidUtf8)?;
    Ok(Received::Close(Some(code)))
}

fn unmasked(masked: &[u8], mask: [u8; 4]) -> Vec<u8> {
    masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
