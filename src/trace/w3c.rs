//! Between the header `traceparent` and a span's context.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

use crate::protocol::Traceparent;

/// What the header names.
pub(super) fn context(header: &Traceparent) -> Option<SpanContext> {
    // Its shape was checked when it was read.
    let mut parts = header.as_str().split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::default()))
}

/// Whether the publisher's span is recorded, without reading the rest.
pub(super) fn is_sampled(header: &Traceparent) -> bool {
    let last = header.as_str().bytes().last();
    last.is_some_and(|digit| matches!(digit, b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f'))
}

/// A context whose parent is what the header names.
pub(super) fn remote(header: &Traceparent, context_before: Context) -> Context {
    match context(header) {
        Some(parent) => context_before.with_remote_span_context(parent),
        None => context_before,
    }
}

/// The header that names this span.
pub(super) fn header(span: &SpanContext) -> Option<Traceparent> {
    let flags = if span.is_sampled() { "01" } else { "00" };
    Traceparent::parse(&format!("00-{}-{}-{flags}", span.trace_id(), span.span_id()))
}
