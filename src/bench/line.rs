//! One connection in any mode: opened and logged in, listened to, left.

use std::future::poll_fn;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::access::Mint;
use super::dialect::{Heard, Mode};
use super::wire::{Frame, Scratch, Upgrade, Wire};
use crate::client::{DialError, Endpoint};
use crate::protocol::UserId;

/// From the look-up of the name to the answer that makes a connection ready: longer than a server takes that is still sane.
pub(super) const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// From a close frame to the answer, or to the end of the stream.
const CLOSE_BOUND: Duration = Duration::from_secs(5);

/// What a lost connection is counted as (RFC 6455 §7.4.1).
const LOST: u16 = 1006;

/// Going away as we came.
const NORMAL: u16 = 1000;

/// Where all connections of a run go, and how.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) mode: Mode,
    pub(super) mint: Mint,
    /// Local addresses, used in turn; none leaves it to the system.
    pub(super) sources: Vec<IpAddr>,
    /// Without any frame for so long, pings included, a connection is lost.
    pub(super) silence: Duration,
    pub(super) scratch: Scratch,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Line {
    wire: Wire,
    mode: Mode,
    scratch: Scratch,
    silence: Duration,
}

impl Target {
    /// The local address of a connection, by its number.
    pub(super) fn source(&self, number: usize) -> Option<IpAddr> {
        number.checked_rem(self.sources.len()).map(|turn| self.sources[turn])
    }

    /// Opens a connection and logs in. Boxed, for its state is far larger than an open connection's.
    ///
    /// # Errors
    /// [`DialError`]; a login that is refused is one of the kind `login`.
    pub(super) async fn open(&self, number: usize, user: &UserId) -> Result<Line, DialError> {
        match timeout(CONNECT_BOUND, Box::pin(self.connect(number, user))).await {
            Ok(outcome) => outcome,
            Err(_) => Err(DialError::failed("timeout", &format!("not ready within {CONNECT_BOUND:?}"))),
        }
    }

    async fn connect(&self, number: usize, user: &UserId) -> Result<Line, DialError> {
        let token = self.mint.token(user).map_err(|error| DialError::failed("token", &error))?.token;
        let upgrade = Upgrade {
            endpoint: &self.endpoint,
            path: &self.mode.path(&self.endpoint.uri),
            bearer: self.mode.bearer().then_some(&token),
            protocol: self.mode.protocol(),
            source: self.source(number),
        };
        let wire = upgrade.open().await?;
        let mut line = Line { wire, mode: self.mode, scratch: self.scratch.clone(), silence: self.silence };
        if !self.mode.ready_at_once() {
            line.log_in(&token).await?;
        }
        Ok(line)
    }
}

impl Line {
    async fn log_in(&mut self, token: &SecretString) -> Result<(), DialError> {
        let mode = self.mode;
        if let Some(text) = mode.login(None, token) {
            self.wire.text(text.as_bytes());
        }
        poll_fn(|cx| {
            loop {
                let (mut ready, mut refused, mut answers) = (false, None, Vec::new());
                let read = self.wire.poll_frames(cx, &self.scratch, &mut |frame| {
                    match frame {
                        Frame::Data(text) => {
                            answers.extend(mode.login(Some(text), token));
                            mode.hear(text, &mut |heard| match heard {
                                Heard::Ready => ready = true,
                                Heard::Refused(said) => refused = Some(said.escape_debug().to_string()),
                                Heard::Answer(text) => answers.push(text.to_owned()),
                                Heard::Message(_) => {}
                            });
                        }
                        Frame::Close(code) => refused = Some(format!("closed with {code}")),
                    }
                    // What follows the login is for whoever listens.
                    if ready { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                answers.into_iter().for_each(|text| self.wire.text(text.as_bytes()));
                return match (read, refused) {
                    (_, Some(said)) => Poll::Ready(Err(DialError::failed("login", &said))),
                    (Poll::Ready(Err(error)), _) => Poll::Ready(Err(DialError::broken(&error))),
                    (Poll::Ready(Ok(())), _) if ready => Poll::Ready(Ok(())),
                    (Poll::Ready(Ok(())), _) => continue,
                    (Poll::Pending, _) => Poll::Pending,
                };
            }
        })
        .await
    }

    /// Hands each message on until the connection ends; returns the code of its end.
    pub(super) async fn listen(&mut self, mut message: impl FnMut(&[u8])) -> u16 {
        let mut heard = Instant::now();
        // Set anew when it fires and not with each frame.
        let mut silent = pin!(sleep_until(heard + self.silence));
        poll_fn(|cx| {
            loop {
                match self.poll_listen(cx, &mut message) {
                    Poll::Ready(Some(code)) => return Poll::Ready(code),
                    Poll::Ready(None) => heard = Instant::now(),
                    Poll::Pending if silent.as_mut().poll(cx).is_pending() => return Poll::Pending,
                    Poll::Pending if heard.elapsed() >= self.silence => return Poll::Ready(LOST),
                    Poll::Pending => silent.as_mut().reset(heard + self.silence),
                }
            }
        })
        .await
    }

    /// Reads once; the code when that was the end.
    fn poll_listen(&mut self, cx: &mut Context<'_>, message: &mut impl FnMut(&[u8])) -> Poll<Option<u16>> {
        let (mode, mut closed, mut answers) = (self.mode, None, Vec::new());
        let read = self.wire.poll_frames(cx, &self.scratch, &mut |frame| {
            match frame {
                Frame::Data(text) => mode.hear(text, &mut |heard| match heard {
                    Heard::Message(payload) => message(&payload),
                    Heard::Answer(text) => answers.push(text),
                    Heard::Ready | Heard::Refused(_) => {}
                }),
                Frame::Close(code) => closed = Some(code),
            }
            ControlFlow::Continue(())
        });
        // Sent by the next poll, which comes at once.
        answers.into_iter().for_each(|text| self.wire.text(text.as_bytes()));
        match (closed, read) {
            (Some(code), _) => Poll::Ready(Some(code)),
            (None, Poll::Ready(Ok(()))) => Poll::Ready(None),
            (None, Poll::Ready(Err(_))) => Poll::Ready(Some(LOST)),
            (None, Poll::Pending) => Poll::Pending,
        }
    }

    /// Answers the other side's close frame and sees it leave, until then at most.
    pub(super) async fn see_off(mut self, until: Instant) {
        self.wire.close(NORMAL);
        let until = until.min(Instant::now() + CLOSE_BOUND);
        let _ = timeout_at(until, self.rest(&mut false)).await;
    }

    /// Closes with 1000; whether the close was answered. It waits for the server to hang up, as the protocol wants it.
    pub(super) async fn leave(mut self) -> bool {
        self.wire.close(NORMAL);
        let mut answered = false;
        let _ = timeout(CLOSE_BOUND, self.rest(&mut answered)).await;
        answered
    }

    /// Reads to the end of the stream; `closed` becomes true with a close frame.
    async fn rest(&mut self, closed: &mut bool) {
        let mut each = |frame: Frame<'_>| {
            *closed |= matches!(frame, Frame::Close(_));
            ControlFlow::Continue(())
        };
        while poll_fn(|cx| self.wire.poll_frames(cx, &self.scratch, &mut each)).await.is_ok() {}
    }
}
