//! A client's life: waiting, dialing, open, ended.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::config::ClientConfig;
use super::connection::Connection;
use super::cursor::Cursor;
use super::dial::{DialError, Hello, Socket, dial};
use super::event::{Event, Opened};
use super::frame;
use super::pause::{Next, Pause};
use super::token::{TokenFault, TokenSource, refresh_in};

/// Why there is no connection.
pub(super) enum Fault {
    Dial(DialError),
    Token(TokenFault),
}

/// A new connection, and when its token expires.
pub(super) type Dialed = Result<(Socket, Option<SystemTime>), Fault>;

pub(super) enum State {
    /// Until then; `old` is the connection before, whose close is still to be answered.
    Waiting {
        until: Instant,
        old: Option<Box<Connection>>,
    },
    Dialing(Pin<Box<dyn Future<Output = Dialed> + Send>>),
    Open(Box<Connection>),
    Ended {
        old: Option<Box<Connection>>,
    },
}

/// A client of one user. Everything happens inside [`Client::next`]: what is not called for is not done.
pub struct Client<T> {
    pub(super) config: Arc<ClientConfig>,
    pub(super) tokens: Arc<T>,
    pub(super) state: State,
    pub(super) cursor: Cursor,
    pub(super) pause: Pause,
    /// The next token is not to come from a cache.
    fresh: bool,
    pub(super) repeated: u64,
}

impl<T: TokenSource> Client<T> {
    /// A client that connects with the first call of [`Client::next`]. Several may share a configuration.
    pub fn new(config: impl Into<Arc<ClientConfig>>, tokens: T) -> Self {
        let config = config.into();
        Self {
            cursor: Cursor::new(config.last_event_id.clone()),
            pause: Pause::new(config.backoff_base, config.backoff_cap),
            state: State::Waiting { until: Instant::now(), old: None },
            tokens: Arc::new(tokens),
            fresh: false,
            repeated: 0,
            config,
        }
    }

    /// What happens next; none when the client has ended, because the last close or refusal says not to come back.
    /// Nothing is lost when this is cancelled: the next call goes on from there.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = match &mut self.state {
                State::Waiting { until, old } => {
                    let until = *until;
                    if let Some(connection) = old {
                        connection.see_off(until).await;
                        *old = None;
                    }
                    sleep_until(until).await;
                    self.state = State::Dialing(self.dialing());
                    None
                }
                State::Dialing(dialing) => {
                    let outcome = dialing.as_mut().await;
                    self.dialed(outcome)
                }
                State::Open(connection) => {
                    let step = connection.step(self.config.silence).await;
                    self.stepped(step)
                }
                State::Ended { old } => {
                    if let Some(connection) = old {
                        connection.see_off(Instant::now() + self.config.connect_bound).await;
                        *old = None;
                    }
                    return None;
                }
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// Where the client is in its messages: to be kept for [`ClientConfig::last_event_id`].
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.position()
    }

    /// Messages that arrived again and were not delivered.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Sends a `ping` frame with the next call of [`Client::next`]; one that has not left yet is replaced. Whether there is
    /// a connection that knows such frames.
    pub fn ping(&mut self, data: &RawValue) -> bool {
        match &mut self.state {
            State::Open(connection) if self.config.v1 => {
                connection.ping = Some(frame::ping(data));
                true
            }
            _ => false,
        }
    }

    /// Closes with 1000, within five seconds. Whether a connection was open and the close was answered.
    pub async fn close(self) -> bool {
        match self.state {
            State::Open(mut connection) => connection.leave().await,
            State::Waiting { old: Some(mut old), .. } | State::Ended { old: Some(mut old) } => {
                old.see_off(Instant::now() + self.config.connect_bound).await;
                false
            }
            State::Waiting { .. } | State::Dialing(_) | State::Ended { .. } => false,
        }
    }

    /// Owns all it needs, so that it goes on where a cancelled call left it. Boxed for its size, too.
    fn dialing(&self) -> Pin<Box<dyn Future<Output = Dialed> + Send>> {
        let (config, tokens, fresh) = (Arc::clone(&self.config), Arc::clone(&self.tokens), self.fresh);
        let position = self.cursor.position().filter(|_| config.v1).map(str::to_owned);
        Box::pin(async move {
            let bearer = tokens.token(fresh).await.map_err(Fault::Token)?;
            let hello = Hello { v1: config.v1, last_event_id: position.as_deref(), source: config.source };
            let socket = dial(&config.endpoint, &bearer.token, &hello, config.connect_bound).await;
            Ok((socket.map_err(Fault::Dial)?, bearer.expires))
        })
    }

    fn dialed(&mut self, outcome: Dialed) -> Option<Event> {
        match outcome {
            Ok((socket, expires)) => {
                self.fresh = false;
                let mut connection = Connection::new(socket);
                connection.refresh_at = self.refresh_at(expires);
                self.state = State::Open(connection);
                // With frames, the server's hello says more.
                (!self.config.v1).then(|| Event::Opened(Opened::default()))
            }
            Err(Fault::Dial(DialError::Refused { status, retry_after, .. })) => {
                let next = self.pause.refused(status, retry_after);
                Some(Event::Refused { status, retry_after, again_in: self.wait(next, None) })
            }
            Err(Fault::Dial(DialError::Failed { kind, reason })) => Some(self.failed(kind, reason)),
            Err(Fault::Token(fault)) => Some(self.failed("token", fault.to_string())),
        }
    }

    fn failed(&mut self, kind: &'static str, reason: String) -> Event {
        let next = self.pause.failed();
        Event::Failed { kind, reason, again_in: self.wait(next, None).unwrap_or_default() }
    }

    pub(super) fn refresh_at(&self, expires: Option<SystemTime>) -> Option<Instant> {
        let expires = expires.filter(|_| self.config.v1)?;
        Instant::now().checked_add(refresh_in(expires, self.config.refresh_before))
    }

    pub(super) fn wait(&mut self, next: Next, old: Option<Box<Connection>>) -> Option<Duration> {
        self.fresh |= matches!(next, Next::FreshTokenAfter(_));
        match next {
            Next::After(wait) | Next::FreshTokenAfter(wait) => {
                self.state = State::Waiting { until: Instant::now() + wait, old };
                Some(wait)
            }
            Next::Stop => {
                self.state = State::Ended { old };
                None
            }
        }
    }
}

impl<T> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("cursor", &self.cursor.position()).finish_non_exhaustive()
    }
}
