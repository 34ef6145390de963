use std::future::poll_fn;
use std::pin::pin;

use opentelemetry::trace::{SpanBuilder, SpanContext, Status, TraceContextExt};
use opentelemetry::{Context, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Side, Tracer, pair, w3c};
use crate::protocol::{CorrelationId, SERVICE, ServiceError, TraceIds, Traceparent};

/// What is under way. Ends when it is dropped; may be nothing at all.
#[derive(Debug)]
pub struct Span(Option<Context>);

/// Where a connection began: the sampled span of its upgrade. Kept for as long as the connection, so it is small.
#[derive(Debug, Clone)]
pub struct Connected(pub(super) Box<SpanContext>);

impl Connected {
    /// The span, for a log line.
    #[must_use]
    pub fn ids(&self) -> TraceIds {
        shown(&self.0)
    }
}

impl Span {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    pub(super) fn of(context: Context) -> Self {
        Self(Some(context))
    }

    /// Whether it will be sent.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|context| context.span().is_recording())
    }

    /// Says something about it. What costs something to find out is asked of [`Span::is_recorded`] first.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(pair(key, value));
        }
    }

    /// The header that makes others its children.
    #[must_use]
    pub fn traceparent(&self) -> Option<Traceparent> {
        w3c::header(self.0.as_ref()?.span().span_context())
    }

    /// What the connection's end refers to; `None` unless it is sampled.
    #[must_use]
    pub fn connected(&self) -> Option<Connected> {
        let context = self.0.as_ref()?.span().span_context().clone();
        context.is_sampled().then(|| Connected(Box::new(context)))
    }

    /// Runs what it covers: spans begun and errors met by that are its own.
    pub async fn cover<T>(&self, covered: impl Future<Output = T>) -> T {
        let mut covered = pin!(covered);
        poll_fn(|cx| {
            let _current = self.0.as_ref().map(|context| context.clone().attach());
            covered.as_mut().poll(cx)
        })
        .await
    }

    /// The same for what does not wait.
    pub fn around<T>(&self, covered: impl FnOnce() -> T) -> T {
        let _current = self.0.as_ref().map(|context| context.clone().attach());
        covered()
    }

    /// It failed, for a reason that is no error of the service's.
    pub fn failed(&self, reason: &str) {
        if let Some(context) = &self.0 {
            context.span().set_status(Status::error(reason.to_owned()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // Children may still hold the context.
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

/// A child of the span that is current, where that one is recorded.
#[must_use]
pub fn child(name: &'static str, side: Side) -> Span {
    Context::map_current(|context| {
        if !context.span().is_recording() {
            return Span::none();
        }
        let Some(tracer) = context.get::<Tracer>() else { return Span::none() };
        let Some(inner) = &tracer.0 else { return Span::none() };
        tracer.start(inner, SpanBuilder::from_name(name).with_kind(side.into()), context)
    })
}

/// Records an error, with everything its log line says, on the span that is current, and marks it with that span.
#[must_use]
pub fn recorded(mut error: ServiceError, correlation_id: CorrelationId) -> ServiceError {
    if let Some(span) = ids() {
        record(&error, correlation_id);
        error.trace = Some(Box::new(span));
    }
    error
}

fn record(error: &ServiceError, correlation_id: CorrelationId) {
    Context::map_current(|context| {
        let span = context.span();
        if !span.is_recording() {
            return;
        }
        let code = error.code.as_str();
        let timestamp = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let details = serde_json::Value::Object(error.details.clone()).to_string();
        span.set_status(Status::error(error.message.clone()));
        span.add_event(
            "exception",
            vec![
                pair("exception.type", code),
                pair("exception.message", error.message.to_string()),
                pair("error_code", code),
                pair("message", error.message.to_string()),
                pair("correlation_id", correlation_id.to_string()),
                pair("timestamp", timestamp),
                pair("service", SERVICE),
                pair("operation", error.operation),
                pair("details", details),
            ],
        );
    });
}

/// The span that is current, recorded or not.
#[must_use]
pub fn ids() -> Option<TraceIds> {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| shown(span))
    })
}

fn shown(span: &SpanContext) -> TraceIds {
    TraceIds { trace_id: span.trace_id().to_string(), span_id: span.span_id().to_string() }
}
