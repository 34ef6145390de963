use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio::time::Instant;

use super::catch_up::CatchUp;
use super::machine::{Action, Machine};
use super::outbox::{Outbox, Waiting};
use crate::history::{Gap, Live};
use crate::metrics::Metrics;
use crate::protocol::frame::{self, ClientFrame};
use crate::protocol::{CorrelationId, Envelope, ErrorCode, Payload, ServiceError};

/// What a connection in v1 mode has beyond a plain one. A plain connection pays a pointer for it.
pub struct V1 {
    /// What is written before anything of the outbox: the hello, and what was read from history.
    pub(super) backlog: VecDeque<Arc<Envelope>>,
    /// Where history is on.
    pub(super) catch_up: Option<CatchUp>,
    renewals: Box<dyn Renewals>,
    /// The fresh token that is looked at. A fresher one takes its place.
    renewal: Option<BoxFuture<'static, Result<Instant, NotRenewed>>>,
}

/// Who looks at a fresh token: the verifier, seen from here.
pub trait Renewals: Send + Sync {
    /// When the connection ends by this token; the error that its client is told; or the close where it is another
    /// user's.
    ///
    /// Mostly ready at once; some seconds where the token's key has to be fetched.
    fn renew(&self, token: SecretString) -> BoxFuture<'static, Result<Instant, NotRenewed>>;
}

/// Why a fresh token does not extend a connection.
#[derive(Debug)]
pub enum NotRenewed {
    /// It is no good. The connection stays, by the token it has.
    Refused(ServiceError),
    /// It is another user's.
    Stranger(ServiceError),
}

impl V1 {
    /// A connection that begins with this hello and, where history is on, with what it has to catch up on.
    #[must_use]
    pub fn new(
        hello: String,
        catch_up: Option<(CatchUp, Vec<Arc<Envelope>>)>,
        renewals: Box<dyn Renewals>,
    ) -> Self {
        let mut backlog = VecDeque::from([Envelope::own(hello)]);
        let catch_up = catch_up.map(|(catch_up, first)| {
            backlog.extend(first);
            catch_up
        });
        Self { backlog, catch_up, renewals, renewal: None }
    }

    /// The connection is open.
    pub(super) fn begins(&mut self, outbox: &Outbox) {
        if let Some(catch_up) = &mut self.catch_up
            && !catch_up.is_reading()
        {
            catch_up.follow(outbox);
        }
    }

    /// Takes note of how the outbox stands.
    pub(super) fn notices(&mut self, waiting: Waiting) {
        let Some(catch_up) = &mut self.catch_up else { return };
        if waiting.closing {
            catch_up.stop();
        } else if waiting.behind {
            catch_up.fell_behind();
        }
    }

    /// Goes on reading from history; whether there is something to write before anything of the outbox.
    pub(super) fn poll_backlog(&mut self, outbox: &Outbox, metrics: &Metrics, cx: &mut Context<'_>) -> bool {
        if let Some(catch_up) = &mut self.catch_up {
            return catch_up.poll(&mut self.backlog, outbox, metrics, cx).is_ready();
        }
        self.has_backlog()
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Does what a text of the client's says.
    pub(super) fn hears(&mut self, text: &Payload, correlation_id: CorrelationId) -> Action {
        match ClientFrame::read(text) {
            Ok(ClientFrame::Unknown) => Action::Nothing,
            Ok(ClientFrame::Ping(data)) => Action::Reply(frame::pong(data.as_deref())),
            Ok(ClientFrame::Auth(token)) => {
                self.renewal = Some(self.renewals.renew(token));
                Action::Nothing
            }
            Err(error) => {
                Action::Reply(frame::error(ErrorCode::InvalidRequest, &error.to_string(), correlation_id))
            }
        }
    }

    /// Goes on looking at a fresh token.
    pub(super) fn poll_renewal(&mut self, cx: &mut Context<'_>) -> Poll<Result<Instant, NotRenewed>> {
        let Some(renewal) = &mut self.renewal else { return Poll::Pending };
        let renewed = ready!(renewal.as_mut().poll(cx));
        self.renewal = None;
        Poll::Ready(renewed)
    }

    /// A fresh token was looked at.
    pub(super) fn renewed(
        renewed: Result<Instant, NotRenewed>,
        correlation_id: CorrelationId,
        machine: &mut Machine,
    ) -> Action {
        match renewed {
            Ok(until) => {
                machine.renewed(until);
                Action::Nothing
            }
            Err(NotRenewed::Refused(error)) => {
                Action::Reply(frame::error(error.code, &error.message, correlation_id))
            }
            Err(NotRenewed::Stranger(error)) => Action::Close(error.to_close()),
        }
    }

    /// Takes the next envelope of the outbox: what of it is to be written, a gap before it where there is one.
    pub(super) fn joins(&mut self, envelope: &Envelope) -> Live {
        match (envelope.id(), &mut self.catch_up) {
            (Some(id), Some(catch_up)) => catch_up.live(id),
            _ => Live::Send,
        }
    }
}

/// The frame of a gap.
pub(super) fn gap_frame(Gap(after): Gap) -> String {
    frame::gap(after.map(|id| id.to_string()).as_deref())
}

impl fmt::Debug for V1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("V1").field("backlog", &self.backlog.len()).finish_non_exhaustive()
    }
}
