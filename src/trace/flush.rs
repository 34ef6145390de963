//! What one write to a socket carried.

use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::trace::{Link, Span as _, SpanBuilder, SpanKind, TraceContextExt, Tracer as _};
use tokio::time::Instant;

use super::{Inner, Tracer, pair, sample, w3c};
use crate::protocol::{ConnectionId, Traceparent, UserId};

const NAME: &str = "websocket.forward_message";
const KIND: SpanKind = SpanKind::Consumer;

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
        let waited = now.saturating_duration_since(oldest);
        let tracer = &self.inner.tracer;
        let mut span = match self.links.first() {
            Some(first) => {
                let parent = Context::new().with_remote_span_context(first.span_context.clone());
                tracer.build_with_context(builder(waited).with_links(self.links), &parent)
            }
            // Where a busy pod's flushes end that name no trace, all but the ratio's.
            None => match sample::draw(&self.inner.sampler, NAME, &KIND) {
                None => return,
                Some(drawn) => {
                    sample::first(drawn, || tracer.build_with_context(builder(waited), &Context::new()))
                }
            },
        };
        // It ends when it is dropped. Its publisher's trace may be one that the sampler does not want.
        if span.is_recording() {
            let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            span.set_attributes([
                pair("messaging.operation.name", "deliver"),
                pair("messaging.batch.message_count", count(messages)),
                pair("websocket.bytes", count(bytes as u64)),
                pair("websocket.connection_id", self.route.connection_id.to_string()),
                pair("enduser.pseudo.id", self.route.tracer.user(self.route.user)),
            ]);
        }
    }
}

/// A span that began so long ago.
fn builder(waited: Duration) -> SpanBuilder {
    let now = SystemTime::now();
    SpanBuilder::from_name(NAME).with_kind(KIND).with_start_time(now.checked_sub(waited).unwrap_or(now))
}
