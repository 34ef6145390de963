//! Spans: what one request, one flush or one drain did, sent to a collector by OTLP. Nothing where tracing is off.
//!
//! A span is handed down in OpenTelemetry's own current context, so that a part that asks Redis need not know for whom it
//! asks. No span lives as long as a connection: what happens at its end is a span of its own, in the trace of its
//! beginning.

mod export;
mod flush;
mod forwarded;
mod sample;
mod span;
mod w3c;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use opentelemetry::trace::{SpanBuilder, SpanKind, TraceContextExt, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, TracerProviderBuilder};

use crate::config::TraceSampling;
use crate::protocol::{SERVICE, Traceparent, UserId};

use forwarded::Waiting;

pub use export::{ExportError, start};
pub use flush::{Flush, Route};
pub use span::{Connected, Span, child, ids, recorded};

/// Whose side of a call a span is, for the collector's map of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Answers a request.
    Server,
    /// Asks another system.
    Client,
    /// Gives a message to others.
    Producer,
    /// Takes a message to where it was going.
    Consumer,
    /// Neither.
    Internal,
}

impl From<Side> for SpanKind {
    fn from(side: Side) -> Self {
        match side {
            Side::Server => Self::Server,
            Side::Client => Self::Client,
            Side::Producer => Self::Producer,
            Side::Consumer => Self::Consumer,
            Side::Internal => Self::Internal,
        }
    }
}

/// Makes spans, or nothing. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

struct Inner {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    sampler: Sampler,
    shows_users: bool,
    waiting: Waiting,
}

impl Inner {
    fn new(provider: TracerProviderBuilder, sampling: TraceSampling, shows_users: bool) -> Self {
        let sampler = sample::sampler(sampling);
        let provider =
            provider.with_sampler(sampler.clone()).with_id_generator(sample::Ids::default()).build();
        Self { tracer: provider.tracer(SERVICE), provider, sampler, shows_users, waiting: Waiting::default() }
    }

    fn user(&self, user: &UserId) -> String {
        if self.shows_users { user.as_str().to_owned() } else { pseudonym(user) }
    }
}

impl Tracer {
    /// Makes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether there may be spans.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts a span in the caller's trace, where it named one, else in a new one.
    #[must_use]
    pub fn span(&self, name: &'static str, side: Side, caller: Option<&Traceparent>) -> Span {
        let Some(inner) = &self.0 else { return Span::none() };
        let parent = caller.map_or_else(Context::new, |caller| w3c::remote(caller, Context::new()));
        self.start(inner, SpanBuilder::from_name(name).with_kind(side.into()), &parent)
    }

    /// Starts a span at the end of what a sampled one began, in its trace.
    #[must_use]
    pub fn later(&self, name: &'static str, began: Option<&Connected>) -> Span {
        let (Some(inner), Some(began)) = (&self.0, began) else { return Span::none() };
        let parent = Context::new().with_remote_span_context((*began.0).clone());
        self.start(inner, SpanBuilder::from_name(name), &parent)
    }

    /// Who it is about: a pseudonym that is the same on every pod, unless user ids are to be shown.
    #[must_use]
    pub fn user(&self, user: &UserId) -> String {
        self.0.as_ref().map_or_else(|| pseudonym(user), |inner| inner.user(user))
    }

    /// Sends what waits, and makes no more spans. Blocks for so long at most.
    pub fn stop(&self, bound: Duration) {
        let Some(inner) = &self.0 else { return };
        inner.make();
        if let Err(error) = inner.provider.shutdown_with_timeout(bound) {
            tracing::warn!(%error, "the last spans may not have reached the collector");
        }
    }

    fn start(&self, inner: &Inner, builder: SpanBuilder, parent: &Context) -> Span {
        let span = inner.tracer.build_with_context(builder, parent);
        // With the tracer beside it, whoever has the context can make children.
        Span::of(parent.with_span(span).with_value(self.clone()))
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracer").field(&self.is_on()).finish()
    }
}

/// 64 bits of SHA-256. Who knows the ids of the users can tell whom it means: it keeps them out of sight, no more.
fn pseudonym(user: &UserId) -> String {
    let hash = digest(&SHA256, user.as_str().as_bytes());
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn pair(key: &'static str, value: impl Into<opentelemetry::Value>) -> KeyValue {
    KeyValue::new(key, value)
}

#[cfg(test)]
mod tests;
