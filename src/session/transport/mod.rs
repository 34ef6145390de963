//! What a session needs of a connection, and no more, so that it runs on a scripted one in tests.

mod receive;
mod send;
mod web_socket;

use std::task::{Context, Poll};

use crate::protocol::Payload;

pub use web_socket::{WebSocket, WebSocketLimits};

/// A frame from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text message.
    Text(Payload),
    /// A binary message; its content is of no interest.
    Binary,
    /// A ping; the transport answers it by itself.
    Ping,
    /// A pong.
    Pong,
    /// The client closes; the transport answers by itself.
    Close,
}

/// Why nothing more can be received or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The peer went away without a close frame.
    #[error("connection lost")]
    Lost,
    /// The peer sent a message or frame above the limit.
    #[error("message too large")]
    TooLarge,
    /// The peer sent text that is no UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// The peer broke the protocol in another way.
    #[error("protocol error")]
    Protocol,
}

/// One connection, as polls, so that a session waits for reading, writing, its queue and its timer in one place.
pub trait Transport: Unpin {
    /// The next frame.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, TransportError>>;

    /// Whether a frame can be given without piling up behind a socket that does not take more.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;

    /// Gives a text message; it may stay in memory until the flush. Only after `poll_ready` said so, unless it is short.
    ///
    /// # Errors
    /// [`TransportError`] when the connection cannot be written to any more.
    fn start_text(&mut self, text: &Payload) -> Result<(), TransportError>;

    /// Gives a ping.
    ///
    /// # Errors
    /// As for [`Transport::start_text`].
    fn start_ping(&mut self) -> Result<(), TransportError>;

    /// Gives the close frame, after which nothing else is given.
    ///
    /// # Errors
    /// As for [`Transport::start_text`].
    fn start_close(&mut self, code: u16, reason: &str) -> Result<(), TransportError>;

    /// Writes everything given so far to the socket.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;
}
