//! What happens on the open connection, and what it means for the client.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Connection, Step};
use super::event::{Body, Event, Message, Opened};
use super::frame::{self, Frame};
use super::life::{Client, State};
use super::pause::MAX_ANNOUNCED;
use super::token::TokenSource;

/// Until a source that had no token for an open connection is asked again.
const REFRESH_AGAIN: Duration = Duration::from_secs(5);

impl<T: TokenSource> Client<T> {
    /// What a step on the open connection means.
    pub(super) fn stepped(&mut self, step: Step) -> Option<Event> {
        match step {
            Step::Text(text) if self.config.v1 => self.read(Frame::parse(&text)),
            Step::Text(text) => {
                let body = Body::Text(text.as_str().to_owned());
                Some(Event::Message(Message { id: None, body, traceparent: None }))
            }
            Step::Closed { code, reason } => Some(self.closed(code, reason)),
            Step::RefreshDue => {
                let tokens = Arc::clone(&self.tokens);
                self.open()?.refreshing = Some(Box::pin(async move { tokens.token(true).await }));
                None
            }
            Step::Token(Ok(bearer)) => {
                let refresh_at = self.refresh_at(bearer.expires);
                let connection = self.open()?;
                connection.auth = Some(frame::auth(&bearer.token));
                connection.refresh_at = refresh_at;
                None
            }
            Step::Token(Err(fault)) => {
                self.open()?.refresh_at = Some(Instant::now() + REFRESH_AGAIN);
                let reason = fault.to_string();
                Some(Event::Failed { kind: "token", reason, again_in: REFRESH_AGAIN })
            }
        }
    }

    fn open(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            State::Open(connection) => Some(connection),
            _ => None,
        }
    }

    fn closed(&mut self, code: u16, reason: String) -> Event {
        let ended = State::Ended { old: None };
        let old = match std::mem::replace(&mut self.state, ended) {
            State::Open(connection) => Some(connection),
            _ => None,
        };
        if old.as_ref().is_some_and(|connection| connection.age() >= self.config.steady) {
            self.pause.lived();
        }
        let announced = old.as_ref().and_then(|connection| connection.announced_wait());
        let next = self.pause.closed(code, announced);
        Event::Closed { code, reason, again_in: self.wait(next, old) }
    }

    /// What a frame of `websocket-service.v1` means.
    fn read(&mut self, frame: Frame) -> Option<Event> {
        match frame {
            Frame::Hello(hello) => {
                self.pause.accepted();
                self.cursor.opened(hello.cursor.as_deref(), hello.history.map(|history| history.messages));
                let opened = Opened {
                    resumed: hello.resumed,
                    cursor: hello.cursor,
                    connection_id: hello.connection_id,
                };
                Some(Event::Opened(opened))
            }
            Frame::Message(message) => {
                if message.id.as_deref().is_none_or(|id| self.cursor.arrived(id)) {
                    return Some(Event::Message(message));
                }
                self.repeated += 1;
                None
            }
            Frame::Gap { after } => Some(Event::Gap { after }),
            Frame::Reconnect { after } => {
                self.open()?.announced = Some(Instant::now() + after.min(MAX_ANNOUNCED));
                None
            }
            Frame::Error(error) => Some(Event::Error {
                code: error.code,
                message: error.message,
                correlation_id: error.correlation_id,
            }),
            Frame::Pong(data) => Some(Event::Pong(data)),
            Frame::Unknown => None,
        }
    }
}
