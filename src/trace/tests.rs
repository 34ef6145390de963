use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData, SpanProcessor};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::protocol::{ConnectionId, CorrelationId, ErrorCode, ServiceError};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// Records so much of what no caller has decided.
fn tracer(ratio: f64) -> (Tracer, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone());
    let inner = Inner::new(provider, TraceSampling { parent_based: true, ratio }, false);
    (Tracer(Some(Arc::new(inner))), exporter)
}

/// Carries one message that names no trace.
fn untraced(route: Route<'_>) -> Flush<'_> {
    let mut flush = route.flush().expect("tracing is on");
    flush.carries(None, Instant::now());
    flush
}

/// Writes it, and makes its span.
fn write(tracer: &Tracer, flush: Flush<'_>, messages: u64) {
    flush.written(messages, 99, Instant::now());
    tracer.0.as_ref().expect("on").make();
}

fn spans(exporter: &InMemorySpanExporter) -> Vec<SpanData> {
    exporter.get_finished_spans().expect("in memory")
}

fn traceparent(text: &str) -> Traceparent {
    Traceparent::parse(text).expect("well-formed")
}

fn user() -> UserId {
    UserId::new("ann").expect("valid")
}

#[tokio::test]
async fn children_and_errors_find_their_span_across_waits() {
    let (tracer, exporter) = tracer(1.0);
    let span = tracer.span("outer", Side::Server, Some(&traceparent(SAMPLED)));
    let error = span
        .cover(async {
            tokio::task::yield_now().await;
            let inner = child("inner", Side::Client);
            inner.cover(tokio::task::yield_now()).await;
            let error = ServiceError::new(ErrorCode::Validation, "test", "Wrong").with_detail("n", 7);
            recorded(error, CorrelationId::random())
        })
        .await;
    let named = span.traceparent().expect("a header").to_string();
    drop(span);
    assert!(ids().is_none(), "nothing is current any more");

    let spans = spans(&exporter);
    let [inner, outer] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*inner.name, &*outer.name), ("inner", "outer"));
    assert_eq!(inner.parent_span_id, outer.span_context.span_id());
    assert_eq!(outer.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert!(named.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && named.ends_with("-01"), "{named}");
    let marked = error.trace.expect("marked");
    assert_eq!(marked.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(marked.span_id, outer.span_context.span_id().to_string());
    let event = outer.events.iter().next().expect("the error");
    for (key, value) in [("error_code", "VALIDATION_ERROR"), ("operation", "test"), ("details", r#"{"n":7}"#)]
    {
        let found = event.attributes.iter().find(|pair| pair.key.as_str() == key);
        assert_eq!(found.map(|pair| pair.value.as_str().into_owned()).as_deref(), Some(value));
    }
}

#[test]
fn a_flush_belongs_to_the_first_trace_and_is_linked_to_all() {
    let (tracer, exporter) = tracer(0.0);
    let user = user();
    let route = Route { tracer: &tracer, connection_id: ConnectionId::random(), user: &user };
    let now = Instant::now();
    let carry = |publishers: &[Option<&str>]| {
        let mut flush = route.flush().expect("tracing is on");
        for publisher in publishers {
            flush.carries(publisher.map(traceparent).as_ref(), now - Duration::from_millis(5));
        }
        write(&tracer, flush, publishers.len() as u64);
    };
    const OTHER: &str = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01";
    carry(&[None, Some(UNSAMPLED)]);
    assert!(spans(&exporter).is_empty(), "no publisher's span is recorded, and the sampler wants none");
    carry(&[Some(UNSAMPLED), Some(SAMPLED), None, Some(OTHER)]);
    let spans = spans(&exporter);
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(&*span.name, "websocket.forward_message");
    assert_eq!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    let links: Vec<String> = span.links.iter().map(|link| link.span_context.span_id().to_string()).collect();
    assert_eq!(links, ["00f067aa0ba902b7", "bbbbbbbbbbbbbbbb"]);
    let took = span.end_time.duration_since(span.start_time).expect("forward");
    assert!(took >= Duration::from_millis(5), "{took:?}");
}

#[test]
fn messages_without_a_trace_are_the_sampler_s() {
    let (tracer, exporter) = tracer(1.0);
    let user = user();
    let route = Route { tracer: &tracer, connection_id: ConnectionId::random(), user: &user };
    write(&tracer, untraced(route), 1);
    let spans = spans(&exporter);
    assert_eq!((spans.len(), spans[0].links.len()), (1, 0));
    let text = format!("{spans:?}");
    assert!(!text.contains("ann") && text.contains(&pseudonym(&user)), "{text}");
}

#[test]
fn of_flushes_without_a_trace_the_ratio_is_recorded_and_no_other_trace_takes_their_ids() {
    const RATIO: f64 = 0.25;
    let (tracer, exporter) = tracer(RATIO);
    let user = user();
    let route = Route { tracer: &tracer, connection_id: ConnectionId::random(), user: &user };
    for _ in 0..10_000 {
        write(&tracer, untraced(route), 1);
        drop(tracer.span("another", Side::Server, None));
    }
    let spans = spans(&exporter);
    for name in ["websocket.forward_message", "another"] {
        let count = spans.iter().filter(|span| span.name == name).count();
        // Six standard deviations: wrong once in 500 million.
        assert!((2_240..=2_760).contains(&count), "{count} of {name}");
    }
    let mut ids: Vec<[u8; 16]> = spans.iter().map(|span| span.span_context.trace_id().to_bytes()).collect();
    for id in &ids {
        let judged = u64::from_be_bytes(id[8..].try_into().expect("8 bytes")) >> 1;
        assert!(
            (judged as f64) < RATIO * (1_u64 << 63) as f64,
            "another with this ratio would not record {id:?}"
        );
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "each is in a trace of its own");
}

/// Counts the spans that end before it is stopped.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<AtomicUsize>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn more_writes_than_may_wait_lose_no_span_and_the_last_ones_are_made_at_the_end() {
    let ended = Ended::default();
    let provider = SdkTracerProvider::builder().with_span_processor(ended.clone());
    let inner = Inner::new(provider, TraceSampling::default(), false);
    let (tracer, user) = (Tracer(Some(Arc::new(inner))), user());
    let route = Route { tracer: &tracer, connection_id: ConnectionId::random(), user: &user };
    for _ in 0..forwarded::MOST + 3 {
        untraced(route).written(1, 99, Instant::now());
    }
    assert_eq!(ended.0.load(Ordering::Relaxed), 3, "what waits is not made by who writes");
    tracer.stop(Duration::from_secs(1));
    assert_eq!(ended.0.load(Ordering::Relaxed), forwarded::MOST + 3);
}

#[tokio::test(start_paused = true)]
async fn spans_of_writes_are_made_after_a_second_or_as_soon_as_there_are_many() {
    let (tracer, exporter) = tracer(1.0);
    tokio::spawn(Inner::keep_making(Arc::downgrade(tracer.0.as_ref().expect("on"))));
    let user = user();
    let route = Route { tracer: &tracer, connection_id: ConnectionId::random(), user: &user };
    let mut made = 0;
    for (writes, within) in [(1, 1_000), (forwarded::MANY, 100), (2, 1_000)] {
        for _ in 0..writes {
            untraced(route).written(1, 99, Instant::now());
        }
        made += writes;
        let all = async {
            while spans(&exporter).len() < made {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_millis(within + 10), all).await.expect("made in time");
    }
}

#[test]
fn off_is_nothing() {
    let tracer = Tracer::off();
    let span = tracer.span("any", Side::Server, Some(&traceparent(SAMPLED)));
    span.around(|| assert!(ids().is_none() && !child("any", Side::Client).is_recorded()));
    assert!(span.traceparent().is_none() && span.connected().is_none());
    assert!(
        Route { tracer: &tracer, connection_id: ConnectionId::random(), user: &user() }.flush().is_none()
    );
}

#[test]
fn an_end_is_in_the_trace_of_its_beginning_if_that_is_recorded() {
    let (tracer, exporter) = tracer(0.0);
    let unrecorded = tracer.span("connect", Side::Server, None);
    assert!(unrecorded.connected().is_none());
    assert!(unrecorded.traceparent().expect("named").as_str().ends_with("-00"));
    let recorded = tracer.span("connect", Side::Server, Some(&traceparent(SAMPLED)));
    let connected = recorded.connected();
    drop((recorded, unrecorded));
    drop(tracer.later("disconnect", connected.as_ref()));
    let names: Vec<_> =
        spans(&exporter).into_iter().map(|span| (span.name, span.span_context.trace_id())).collect();
    assert_eq!((names.len(), &*names[1].0), (2, "disconnect"));
    assert_eq!(names[0].1, names[1].1);
}
