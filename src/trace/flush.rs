//! What one write to a socket carried.

use std::time::SystemTime;

use opentelemetry::trace::Link;
use tokio::time::Instant;

use super::forwarded::{Forwarded, KIND, NAME};
use super::{Inner, Tracer, sample, w3c};
use crate::protocol::{ConnectionId, Traceparent, UserId};

/// Whose messages are written.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// Makes the spans.
    pub tracer: &'a Tracer,
    /// The connection.
    pub connection_id: ConnectionId,
    /// Its user.
    pub user: &'a UserId,
}

/// Gathers the messages of one flush; there is none where tracing is off.
pub struct Flush<'a> {
    inner: &'a Inner,
    route: Route<'a>,
    links: Vec<Link>,
    /// When the oldest of the messages arrived whose publisher has not decided against a record.
    oldest: Option<Instant>,
}

impl<'a> Route<'a> {
    /// A flush begins.
    #[must_use]
    pub fn flush(self) -> Option<Flush<'a>> {
        let inner = self.tracer.0.as_deref()?;
        Some(Flush { inner, route: self, links: Vec::new(), oldest: None })
    }
}

impl Flush<'_> {
    /// A message is part of it that arrived at this pod then.
    pub fn carries(&mut self, publisher: Option<&Traceparent>, arrived: Instant) {
        match publisher {
            None => {}
            // Whoever decided not to record the message's trace has decided for its last step too.
            Some(publisher) if !w3c::is_sampled(publisher) => return,
            Some(publisher) => self.links.extend(w3c::context(publisher).map(Link::with_context)),
        }
        self.oldest = Some(self.oldest.map_or(arrived, |oldest| oldest.min(arrived)));
    }

    /// It is written: a span in the trace of the first message that has one and linked to those of all, else in a trace of
    /// its own where the sampler wants that.
    pub fn written(self, messages: u64, bytes: usize, now: Instant) {
        let Some(oldest) = self.oldest else { return };
        let drawn = if self.links.is_empty() {
            // Where all end but the ratio's, of those that name no trace.
            let Some(drawn) = sample::draw(&self.inner.sampler, NAME, &KIND) else { return };
            Some(drawn)
        } else {
            None
        };
        let ended = SystemTime::now();
        self.inner.later(Forwarded {
            drawn,
            links: self.links,
            began: ended.checked_sub(now.saturating_duration_since(oldest)).unwrap_or(ended),
            ended,
            messages,
            bytes,
            connection_id: self.route.connection_id,
            user: self.route.user.clone(),
        });
    }
}
