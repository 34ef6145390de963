//! The printed script as a back end calls it, with no program of ours between.

use redis::{RedisResult, Value};
use websocket_service::config::HistoryConfig;
use websocket_service::history::{SendBy, publish_script};
use websocket_service::protocol::{EventId, Traceparent};

use crate::support::backplane::Pod;
use crate::support::redis::RedisServer;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const LIMIT: usize = 64;

/// Calls it for ann.
async fn call(server: &RedisServer, size: usize, arguments: &[&[u8]]) -> Value {
    let script = publish_script(&HistoryConfig { size, ..HistoryConfig::default() }, SendBy::Publish, LIMIT);
    server.run("EVAL", &[&[script.as_bytes(), b"1", b"ws:ann"], arguments].concat()).await
}

/// What it says when it refuses.
async fn refusal(server: &RedisServer, keys: &[&[u8]], arguments: &[&[u8]]) -> String {
    let script = publish_script(&HistoryConfig::default(), SendBy::Publish, LIMIT);
    let count = keys.len().to_string();
    let words = [&[script.as_bytes(), count.as_bytes()], keys, arguments].concat();
    let answer: RedisResult<Value> = server.try_run("EVAL", &words).await;
    answer.expect_err("refused").to_string()
}

fn text(value: &Value) -> String {
    redis::from_redis_value(value.clone()).expect("text")
}

#[tokio::test]
async fn it_answers_with_the_id_or_with_the_number_of_pods_too() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    let id = text(&call(&server, 100, &[b"one"]).await);
    assert!(id.parse::<EventId>().is_ok(), "{id}");
    for arguments in [&[b"two".as_slice(), b""][..], &[b"two", b"", b""]] {
        let Value::Array(answer) = call(&server, 100, arguments).await else { panic!("a list") };
        assert!(text(&answer[0]).parse::<EventId>().is_ok());
        assert_eq!((answer.len(), &answer[1]), (2, &Value::Int(1)));
    }
    let seen = pod.until("all", |seen| seen.kept.len() == 3).await;
    assert_eq!((seen.kept[0].id.to_string(), seen.malformed), (id, 0));
}

#[tokio::test]
async fn a_trace_that_is_none_costs_no_message() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    let traces = [
        TRACE,
        "nonsense",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
    ];
    for trace in traces {
        call(&server, 100, &[b"x", b"", trace.as_bytes()]).await;
    }
    let seen = pod.until("all", |seen| seen.kept.len() + seen.malformed == traces.len()).await;
    let kept: Vec<_> = seen.kept.iter().map(|record| record.traceparent.clone()).collect();
    assert_eq!(kept[0], Traceparent::parse(TRACE));
    assert_eq!(kept[1..], vec![None; traces.len() - 1], "as strict as whoever reads it");
}

#[tokio::test]
async fn it_refuses_what_the_pods_would_not_take() {
    let server = RedisServer::start().await;
    let ann: &[&[u8]] = &[b"ws:ann"];
    for (keys, arguments, part) in [
        (ann, &[b"".as_slice()][..], "the payload is empty"),
        (ann, &[&[b'x'; LIMIT + 1]], "the payload is larger than 64 bytes"),
        (ann, &[], "expected one key"),
        (ann, &[b"x", b"", b"", b""], "expected one key"),
        (&[], &[b"x"], "expected one key"),
        (&[b"ws:ann", b"ws:bob"], &[b"x"], "expected one key"),
    ] {
        let said = refusal(&server, keys, arguments).await;
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(server.user_keys().await, Vec::<String>::new());
    call(&server, 100, &[&[b'x'; LIMIT]]).await;
}

#[tokio::test]
async fn printed_without_history_it_is_a_bare_publish_that_knows_repetitions() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    assert_eq!(call(&server, 0, &[b"one"]).await, Value::Nil);
    for _ in 0..2 {
        let answer = call(&server, 0, &[b"two", b"key", TRACE.as_bytes()]).await;
        assert_eq!(answer, Value::Array(vec![Value::Nil, Value::Int(1)]));
    }
    call(&server, 0, &[b"three"]).await;
    let seen = pod.until("all", |seen| seen.messages.len() == 3).await;
    let payloads: Vec<_> = seen.messages.into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(payloads, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    assert!(seen.kept.is_empty());
    assert_eq!(server.user_keys().await, ["{ws:ann}:idempotency:key"]);
}
