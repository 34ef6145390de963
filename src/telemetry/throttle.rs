//! Fewer lines where strangers cause them: a flood of bad tokens is one fact, not a million lines.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

use crate::rate_limit::TokenBucket;

/// Lines of one kind a second, in the long run.
const RATE: u32 = 10;
/// Lines of one kind after a quiet time.
const BURST: u32 = 50;
/// Most kinds: error codes and error types are closed sets, and smaller.
const MAX_KINDS: usize = 64;

/// Fields whose values are the kinds. A line with neither is not a stranger's.
const KINDS: [&str; 2] = ["error_code", "error_type"];

/// Lets so many lines of each kind pass, and counts the others. Errors of the service's own always pass.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: Mutex<HashMap<String, TokenBucket>>,
    left_out: Arc<AtomicU64>,
}

impl Throttle {
    /// How many lines were left out since this was last set to 0.
    pub(super) fn left_out(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.left_out)
    }

    fn passes(&self, kind: &str) -> bool {
        let now = Instant::now();
        let mut buckets = self.buckets.lock();
        if !buckets.contains_key(kind) && buckets.len() < MAX_KINDS {
            buckets.insert(kind.to_owned(), TokenBucket::full(BURST, now));
        }
        let passes = buckets.get_mut(kind).is_none_or(|bucket| bucket.take(RATE, BURST, now));
        drop(buckets);
        if !passes {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        passes
    }
}

impl<S: Subscriber> Filter<S> for Throttle {
    fn enabled(&self, _metadata: &Metadata<'_>, _cx: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _cx: &Context<'_, S>) -> bool {
        if *event.metadata().level() == Level::ERROR {
            return true;
        }
        let mut kind = Kind(None);
        event.record(&mut kind);
        kind.0.is_none_or(|kind| self.passes(&kind))
    }
}

/// Finds the kind among an event's fields.
struct Kind(Option<String>);

impl Visit for Kind {
    fn record_str(&mut self, field: &Field, value: &str) {
        if KINDS.contains(&field.name()) {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::time::Duration;

    use tokio::time::advance;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, fmt::layer, registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_kind_leaves_the_others_and_errors_alone() {
        let (throttle, lines) = (Throttle::default(), Lines::default());
        let (left_out, written) = (throttle.left_out(), lines.clone());
        let subscriber = registry().with(layer().with_writer(move || written.clone()).with_filter(throttle));
        let _here = tracing::subscriber::set_default(subscriber);
        let count = |what: &str| String::from_utf8_lossy(&lines.0.lock()).matches(what).count();
        let flood = || {
            for _ in 0..1_000 {
                tracing::info!(error_code = "AUTHENTICATION_ERROR", "refused");
            }
        };
        flood();
        assert_eq!((count("refused"), left_out.swap(0, Ordering::Relaxed)), (50, 950));
        for _ in 0..100 {
            tracing::error!(error_code = "UNKNOWN_ERROR", "broken");
            tracing::info!("ordinary");
        }
        tracing::warn!(error_type = "too_large", "dropped");
        assert_eq!((count("broken"), count("ordinary"), count("dropped")), (100, 100, 1));
        advance(Duration::from_secs(1)).await;
        flood();
        assert_eq!((count("refused"), left_out.load(Ordering::Relaxed)), (60, 990));
    }
}
