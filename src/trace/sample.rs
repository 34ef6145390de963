//! Whether a trace that begins here is recorded, known before there is a span.
//!
//! The SDK asks its sampler while it makes a span, and most spans of a busy pod come to nothing: their clock, their ids and
//! their part of the tracer would cost more than the rest of tracing together.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample as _,
};

use crate::config::TraceSampling;

thread_local! {
    static DRAWN: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Random ids, and for a trace that was drawn the one it was drawn with: a ratio judges by the id, so that all who sample by
/// the same ratio agree.
#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        DRAWN.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// The sampler that the settings name.
pub(super) fn sampler(sampling: TraceSampling) -> Sampler {
    let ratio = Sampler::TraceIdRatioBased(sampling.ratio);
    if sampling.parent_based { Sampler::ParentBased(Box::new(ratio)) } else { ratio }
}

/// The id of a new trace, if the sampler wants it recorded.
pub(super) fn draw(sampler: &Sampler, name: &str, kind: &SpanKind) -> Option<TraceId> {
    let id = RandomIdGenerator::default().new_trace_id();
    let decision = sampler.should_sample(None, id, name, kind, &[], &[]).decision;
    (decision != SamplingDecision::Drop).then_some(id)
}

/// Makes a span; the first of a trace, if one was drawn for it.
pub(super) fn first<S>(drawn: Option<TraceId>, make: impl FnOnce() -> S) -> S {
    DRAWN.set(drawn);
    let span = make();
    // A tracer that has stopped asks for no id.
    DRAWN.set(None);
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_id_is_for_the_span_that_it_was_drawn_for() {
        let (drawn, ids) = (TraceId::from(7), Ids::default());
        let made = first(Some(drawn), || (ids.new_trace_id(), ids.new_trace_id()));
        assert!(made.0 == drawn && made.1 != drawn, "{made:?}");
        first(Some(drawn), || "a tracer that has stopped asks for none");
        assert_ne!(ids.new_trace_id(), drawn);
    }
}
