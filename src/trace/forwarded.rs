//! The spans of writes, made apart from who wrote, many in a row.
//!
//! On a busy pod that records one write in a hundred, the code that makes a span is in no cache when it is wanted: 17 µs were
//! measured, more than the write itself took, and 3 µs in a row.

use std::mem::take;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::trace::{Link, Span as _, SpanBuilder, SpanKind, TraceContextExt, TraceId, Tracer as _};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Inner, pair, sample};
use crate::protocol::{ConnectionId, UserId};

/// The name of such a span.
pub(super) const NAME: &str = "websocket.forward_message";
/// Its kind.
pub(super) const KIND: SpanKind = SpanKind::Consumer;

/// So many are made as soon as they are there: a part of the 2,048 that the exporter takes at a time.
pub(super) const MANY: usize = 256;

/// So many wait at most, while others are made; those beyond are made where they are written. Some 300 KB.
pub(super) const MOST: usize = 2_048;

/// How long they wait at most: a part of the five seconds that the exporter gathers.
const EVERY: Duration = Duration::from_secs(1);

/// Writes without their spans.
#[derive(Default)]
pub(super) struct Waiting {
    writes: Mutex<Vec<Forwarded>>,
    many: Notify,
}

/// One write.
pub(super) struct Forwarded {
    /// The trace that begins with it; else it is in that of its first link.
    pub(super) drawn: Option<TraceId>,
    pub(super) links: Vec<Link>,
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) messages: u64,
    pub(super) bytes: usize,
    pub(super) connection_id: ConnectionId,
    pub(super) user: UserId,
}

impl Inner {
    /// Its span will be made.
    pub(super) fn later(&self, forwarded: Forwarded) {
        let Waiting { writes, many } = &self.waiting;
        let mut writes = writes.lock();
        if writes.len() == MOST {
            drop(writes);
            return forwarded.span(self);
        }
        writes.push(forwarded);
        if writes.len() == MANY {
            many.notify_one();
        }
    }

    /// Makes the spans that wait.
    pub(super) fn make(&self) {
        let writes = take(&mut *self.waiting.writes.lock());
        for forwarded in writes {
            forwarded.span(self);
        }
    }

    /// Makes them for as long as there is a tracer.
    pub(super) async fn keep_making(inner: Weak<Self>) {
        while let Some(inner) = inner.upgrade() {
            if !inner.waiting.writes.lock().is_empty() {
                let inner = Arc::clone(&inner);
                // They take a millisecond, for which no connection should wait. It cannot fail but with the process.
                let _ = spawn_blocking(move || inner.make()).await;
            }
            // It goes on after the time or when there are many, which is no error.
            let _ = timeout(EVERY, inner.waiting.many.notified()).await;
        }
    }
}

impl Forwarded {
    fn span(self, inner: &Inner) {
        let builder = SpanBuilder::from_name(NAME).with_kind(KIND).with_start_time(self.began);
        let parent = self.links.first().map_or_else(Context::new, |first| {
            Context::new().with_remote_span_context(first.span_context.clone())
        });
        let builder = builder.with_links(self.links);
        let mut span = sample::first(self.drawn, || inner.tracer.build_with_context(builder, &parent));
        // The publisher's trace may be one that the sampler does not want.
        if span.is_recording() {
            let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            span.set_attributes([
                pair("messaging.operation.name", "deliver"),
                pair("messaging.batch.message_count", count(self.messages)),
                pair("websocket.bytes", count(self.bytes as u64)),
                pair("websocket.connection_id", self.connection_id.to_string()),
                pair("enduser.pseudo.id", inner.user(&self.user)),
            ]);
        }
        span.end_with_timestamp(self.ended);
    }
}
