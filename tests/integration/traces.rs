//! Spans as a collector receives them.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::collector::{Collector, hex, text};
use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::raw::Raw;
use crate::support::redis::RedisServer;
use crate::support::service::{bearer, token};
use crate::support::{LOCAL, within};

/// What a front end's and a back end's own tracing sends along, recorded.
const BROWSER: &str = "00-11111111111111111111111111111111-2222222222222222-01";
const BACK_END: &str = "00-33333333333333333333333333333333-4444444444444444-01";

/// A user whose id is seen at once where it should not be.
const USER: &str = "ann-whose-id-is-long";

fn otel<'a>(collector: &'a Collector, protocol: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        // Only what a caller records is recorded.
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ]
}

async fn publish(process: &Daemon, key: &str, traceparent: &str, payload: &str) -> http::Answer {
    let path = format!("/v1/users/{USER}/messages");
    let headers = [("authorization", key), ("traceparent", traceparent)];
    http::request(process.public, "POST", &path, &headers, payload.as_bytes()).await
}

fn trace(span: &Span) -> String {
    hex(&span.trace_id)
}

fn is_child(of: &Span) -> impl Fn(&Span) -> bool {
    let (trace, parent) = (of.trace_id.clone(), of.span_id.clone());
    move |span| span.trace_id == trace && span.parent_span_id == parent
}

#[tokio::test]
async fn one_message_is_followed_from_publish_to_socket() {
    let (redis, collector) = (RedisServer::start().await, Collector::http().await);
    let url = redis.url();
    let settings =
        [otel(&collector, "http/protobuf"), vec![("REDIS_URL", &url), ("OTEL_SERVICE_NAME", "ws-eu")]];
    let mut process = Daemon::start(&settings.concat()).await;
    let headers = [("Sec-WebSocket-Protocol", "websocket-service.v1"), ("traceparent", BROWSER)];
    let mut client = Client::connect_with(&process.url(USER), &headers).await.expect("upgraded");
    client.text().await;

    let connect = collector.span("websocket.connect", |_| true).await;
    assert_eq!((trace(&connect), hex(&connect.parent_span_id)), ("1".repeat(32), "2".repeat(16)));
    assert_eq!(text(&connect.attributes, "websocket.mode").as_deref(), Some("v1"));
    let connection = text(&connect.attributes, "websocket.connection_id").expect("a connection");
    for name in ["websocket.validate_token", "redis.subscribe", "redis.read_history"] {
        collector.span(name, is_child(&connect)).await;
    }
    assert_eq!(collector.resource("service.name").as_deref(), Some("ws-eu"));
    assert!(collector.resource("service.version").is_some());

    assert_eq!(publish(&process, &bearer(), BACK_END, "\"unheard-of\"").await.status, 202);
    let frame: Value = serde_json::from_str(&client.text().await).expect("JSON");
    let published = collector.span("publish", |_| true).await;
    assert_eq!((trace(&published), hex(&published.parent_span_id)), ("3".repeat(32), "4".repeat(16)));
    collector.span("redis.publish", is_child(&published)).await;
    let forward = collector.span("websocket.forward_message", is_child(&published)).await;
    assert_eq!(forward.links.len(), 1);
    assert_eq!(
        (&forward.links[0].trace_id, &forward.links[0].span_id),
        (&published.trace_id, &published.span_id)
    );
    assert_eq!(text(&forward.attributes, "messaging.batch.message_count").as_deref(), Some("1"));
    assert_eq!(text(&forward.attributes, "websocket.bytes").as_deref(), Some("12"));
    assert_eq!(text(&forward.attributes, "websocket.connection_id"), Some(connection));
    let told = frame["traceparent"].as_str().expect("the client is told");
    assert_eq!(told, format!("00-{}-{}-01", trace(&published), hex(&published.span_id)));

    client.send(Message::Close(None)).await;
    client.closed().await;
    let disconnect = collector.span("websocket.disconnect", is_child(&connect)).await;
    assert_eq!(text(&disconnect.attributes, "websocket.close_code").as_deref(), Some("1000"));
    assert!(text(&disconnect.attributes, "websocket.duration_seconds").is_some());

    process.program.signal("TERM");
    assert_eq!(process.program.exit_code().await, Some(0));
    let all = collector.text();
    for secret in [USER, "unheard-of", &token(USER), &bearer()] {
        assert!(!all.contains(secret), "{secret} is in a span");
    }
}

#[tokio::test]
async fn an_error_is_recorded_on_its_span_and_names_it() {
    let collector = Collector::http().await;
    let mut process = Daemon::start(&otel(&collector, "http/protobuf")).await;
    let mut refused =
        Raw::open(process.public, "?token=nonsense", &[("traceparent", BROWSER)]).await.expect("upgraded");
    let correlation_id = refused.closed().await.field("correlation_id");
    let connect = collector.span("websocket.connect", |_| true).await;
    let event = connect.events.iter().find(|event| event.name == "exception").expect("the error");
    for (key, value) in [
        ("error_code", "AUTHENTICATION_ERROR"),
        ("correlation_id", &correlation_id),
        ("operation", "authenticate"),
        ("service", "websocket-service"),
    ] {
        assert_eq!(text(&event.attributes, key).as_deref(), Some(value), "{key}");
    }
    let line = within("its line", LOCAL, process.program.says(&correlation_id, LOCAL)).await;
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["trace_id"], "1".repeat(32));
    assert_eq!(line["span_id"], hex(&connect.span_id));

    let answer = publish(&process, "Bearer wrong", BACK_END, "1").await;
    let detail = &answer.json()["error_detail"];
    let published = collector.span("publish", |_| true).await;
    assert_eq!((answer.status, &detail["trace_id"]), (401, &Value::from("3".repeat(32))));
    assert_eq!(detail["span_id"], hex(&published.span_id));
    assert_eq!(published.status.map(|status| status.code), Some(2), "an error");
}

#[tokio::test]
async fn a_drain_is_a_span_that_leaves_with_the_process() {
    let collector = Collector::grpc().await;
    let mut settings = otel(&collector, "grpc");
    settings.extend([("OTEL_TRACES_SAMPLER", "always_on"), ("TRACE_USER_IDS", "true")]);
    let mut process = Daemon::start(&settings).await;
    let _client = process.connect(USER).await;
    let connect = collector.span("websocket.connect", |_| true).await;
    assert_eq!(text(&connect.attributes, "enduser.pseudo.id").as_deref(), Some(USER));
    process.program.signal("TERM");
    process.program.signal("TERM");
    assert_eq!(process.program.exit_code().await, Some(0));
    let drain = collector.span("websocket.drain", |_| true).await;
    assert_eq!(text(&drain.attributes, "websocket.connections").as_deref(), Some("1"));
    assert!(collector.names().contains(&"websocket.disconnect".to_owned()));
}

#[tokio::test]
async fn nobody_records_and_nobody_collects() {
    let collector = Collector::http().await;
    let mut settings = otel(&collector, "http/protobuf");
    let process = Daemon::start(&settings).await;
    let unrecorded = BROWSER.replace("-01", "-00");
    let headers = [("traceparent", unrecorded.as_str())];
    let _client = Client::connect_with(&process.url(USER), &headers).await.expect("upgraded");
    assert_eq!(publish(&process, &bearer(), &unrecorded, "1").await.status, 202);
    // What is recorded afterwards arrives, so what came before would have.
    publish(&process, &bearer(), BACK_END, "2").await;
    collector.span("websocket.forward_message", |_| true).await;
    assert!(!collector.names().contains(&"websocket.connect".to_owned()), "{:?}", collector.names());

    settings[0].1 = "http://127.0.0.1:9";
    let process = Daemon::start(&settings).await;
    let mut client =
        Client::connect_with(&process.url(USER), &[("traceparent", BROWSER)]).await.expect("upgraded");
    assert_eq!(publish(&process, &bearer(), BACK_END, "served all the same").await.status, 202);
    assert_eq!(client.text().await, "served all the same");
}
