//! One open connection, and what can happen on it next.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::dial::Socket;
use super::token::{Bearer, TokenFault};

/// From a close frame to the end of the stream, which is the server's to close.
const CLOSE_BOUND: Duration = Duration::from_secs(5);

/// What a lost connection is counted as, and a close frame without a code (RFC 6455 §7.4.1).
pub(super) const LOST: u16 = 1006;
const NO_CODE: u16 = 1005;

/// A token on its way from its source.
pub(super) type Refreshing = Pin<Box<dyn Future<Output = Result<Bearer, TokenFault>> + Send>>;

/// What happened.
pub(super) enum Step {
    Text(Utf8Bytes),
    /// The other side closed, or the connection is lost: 1006.
    Closed {
        code: u16,
        reason: String,
    },
    /// It is time to ask for a new token.
    RefreshDue,
    Token(Result<Bearer, TokenFault>),
}

pub(super) struct Connection {
    socket: Socket,
    opened: Instant,
    /// The last sign of life.
    heard: Instant,
    /// When a `reconnect` frame says to come back.
    pub(super) announced: Option<Instant>,
    pub(super) refresh_at: Option<Instant>,
    pub(super) refreshing: Option<Refreshing>,
    /// Frames to send. A newer one takes the place of its like, so there is no queue.
    pub(super) auth: Option<String>,
    pub(super) ping: Option<String>,
    unflushed: bool,
}

impl Connection {
    pub(super) fn new(socket: Socket) -> Box<Self> {
        let now = Instant::now();
        Box::new(Self {
            socket,
            opened: now,
            heard: now,
            announced: None,
            refresh_at: None,
            refreshing: None,
            auth: None,
            ping: None,
            unflushed: false,
        })
    }

    /// How long it has been open.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// What is left of the wait that a `reconnect` frame asked for.
    pub(super) fn announced_wait(&self) -> Option<Duration> {
        self.announced.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits for the next thing; `silence` without any frame is the end. Nothing is lost when this is cancelled.
    pub(super) async fn step(&mut self, silence: Duration) -> Step {
        loop {
            let (now, silent) = (Instant::now(), self.heard + silence);
            if self.refresh_at.take_if(|at| *at <= now).is_some() {
                return Step::RefreshDue;
            }
            let until = self.refresh_at.map_or(silent, |at| at.min(silent));
            match timeout_at(until, poll_fn(|cx| self.poll_step(cx))).await {
                Ok(step) => return step,
                Err(_) if self.heard.elapsed() >= silence => {
                    return Step::Closed { code: LOST, reason: format!("silent for {silence:?}") };
                }
                // Pings have moved the end of the silence meanwhile, or a token is due.
                Err(_) => {}
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if let Some(token) = &mut self.refreshing
            && let Poll::Ready(outcome) = token.as_mut().poll(cx)
        {
            self.refreshing = None;
            return Poll::Ready(Step::Token(outcome));
        }
        self.poll_send(cx);
        loop {
            let message = ready!(self.socket.poll_next_unpin(cx));
            self.heard = Instant::now();
            let step = match message {
                Some(Ok(Message::Text(text))) => Step::Text(text),
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((NO_CODE, String::new()), |frame| {
                        (frame.code.into(), frame.reason.as_str().to_owned())
                    });
                    Step::Closed { code, reason }
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => Step::Closed { code: LOST, reason: error.to_string() },
                None => Step::Closed { code: LOST, reason: "the connection ended".to_owned() },
            };
            return Poll::Ready(step);
        }
    }

    /// Sends what waits, as far as the socket takes it. A failure shows when it is read from.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        while (self.auth.is_some() || self.ping.is_some())
            && let Poll::Ready(outcome) = self.socket.poll_ready_unpin(cx)
        {
            let frame = self.auth.take().or_else(|| self.ping.take());
            if outcome.is_ok()
                && let Some(text) = frame
            {
                self.unflushed |= self.socket.start_send_unpin(Message::text(text)).is_ok();
            }
        }
        if self.unflushed {
            self.unflushed = self.socket.poll_flush_unpin(cx).is_pending();
        }
    }

    /// Answers the other side's close frame and sees it leave, until then at most.
    pub(super) async fn see_off(&mut self, until: Instant) {
        let until = until.min(Instant::now() + CLOSE_BOUND);
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        // Whoever does not leave is left.
        let _ = timeout_at(until, rest).await;
    }

    /// Closes with 1000; whether the close was answered.
    pub(super) async fn leave(&mut self) -> bool {
        timeout(CLOSE_BOUND, leave(&mut self.socket)).await.unwrap_or(false)
    }
}

/// Closes with 1000; whether the close was answered. The caller bounds the wait.
pub async fn leave(socket: &mut Socket) -> bool {
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let mut answered = false;
    if socket.close(Some(frame)).await.is_ok() {
        while let Some(Ok(message)) = socket.next().await {
            answered |= message.is_close();
        }
    }
    answered
}
