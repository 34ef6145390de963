//! What a client tells whoever uses it.

use std::time::Duration;

use serde_json::value::RawValue;

/// One thing that happened, in the order in which it did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is open: at its 101, with `websocket-service.v1` at its `hello`.
    Opened(Opened),
    /// A message that was not delivered before.
    Message(Message),
    /// Messages after this id are gone from history, and those that follow do not make up for it: fetch the state anew.
    Gap {
        /// The last id before the gap, where there is one.
        after: Option<String>,
    },
    /// The connection ended. With no [`Event::Opened`] before it, the server closed instead of saying hello.
    Closed {
        /// The close frame's code; 1005 for one without, 1006 for a connection that was lost.
        code: u16,
        /// The close frame's reason, or what was seen of the loss.
        reason: String,
        /// When the next connection is tried; none is the end of the client.
        again_in: Option<Duration>,
    },
    /// The upgrade was answered in HTTP with something else.
    Refused {
        /// HTTP status.
        status: u16,
        /// How long the answer says to stay away; at most a minute.
        retry_after: Option<Duration>,
        /// When the next connection is tried; none is the end of the client.
        again_in: Option<Duration>,
    },
    /// No answer at all, or no token. An open connection stays open when its token cannot be refreshed.
    Failed {
        /// One of a few words: `refused`, `timeout`, `resolve`, `token` and so on.
        kind: &'static str,
        /// The same at length.
        reason: String,
        /// When it is tried again.
        again_in: Duration,
    },
    /// The server's `error` frame; the connection stays.
    Error {
        /// One of the service's error codes.
        code: String,
        /// For a person.
        message: String,
        /// What to look for in the service's log.
        correlation_id: Option<String>,
    },
    /// The answer to [`Client::ping`](super::Client::ping), with what was sent.
    Pong(Option<Box<RawValue>>),
}

/// What is known of a new connection. All of it is empty in plain mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Whether it continues the one before with nothing missing.
    pub resumed: bool,
    /// Where it begins; none while the server keeps no history.
    pub cursor: Option<String>,
    /// The server's name for it.
    pub connection_id: Option<String>,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its place in history; none where it has no place there.
    pub id: Option<String>,
    /// What was published.
    pub body: Body,
    /// The publisher's W3C trace context, where it sent one.
    pub traceparent: Option<String>,
}

/// What was published.
#[derive(Debug, Clone)]
pub enum Body {
    /// JSON, as it was written. Only with `websocket-service.v1`, which tells it apart.
    Json(Box<RawValue>),
    /// Any other text; in plain mode every text.
    Text(String),
}

impl Body {
    /// The text as it was published.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Json(json) => json.get(),
            Self::Text(text) => text,
        }
    }
}
