//! What one write to a socket carried.

use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, TraceContextExt, Tracer as _,
};
use tokio::time::Instant;

use super::{Inner, Tracer, pair, w3c};
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
    /// Messages whose publisher named no trace.
    untraced: usize,
    oldest: Option<Instant>,
}

impl<'a> Route<'a> {
    /// A flush begins.
    #[must_use]
    pub fn flush(self) -> Option<Flush<'a>> {
        let inner = self.tracer.0.as_deref()?;
        Some(Flush { inner, route: self, links: Vec::new(), untraced: 0, oldest: None })
    }
}

impl Flush<'_> {
    /// A message is part of it that arrived at this pod then.
    pub fn carries(&mut self, publisher: Option<&Traceparent>, arrived: Instant) {
        match publisher {
            None => self.untraced += 1,
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
        let first: Option<SpanContext> = self.links.first().map(|link| link.span_context.clone());
        let parent = first.map_or_else(Context::new, |first| Context::new().with_remote_span_context(first));
        let waited: Duration = now.saturating_duration_since(oldest);
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let began = SystemTime::now().checked_sub(waited).unwrap_or_else(SystemTime::now);
        let builder = SpanBuilder::from_name("websocket.forward_message")
            .with_kind(SpanKind::Consumer)
            .with_start_time(began)
            .with_links(self.links);
        // It ends when it is dropped. Most are not recorded, and what they would say costs more than all the rest.
        let mut span = self.inner.tracer.build_with_context(builder, &parent);
        if span.is_recording() {
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
