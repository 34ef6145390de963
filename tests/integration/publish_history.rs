//! The publish API with history: ids, repetitions, traces, and a 202 only for what was taken.

use serde_json::{Value, json};

use crate::support::http::{self, Answer};
use crate::support::redis::RedisServer;
use crate::support::schema::check_answer;
use crate::support::service::{Service, bearer};
use crate::support::{LOCAL, eventually};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn post(service: &Service, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let bearer = bearer();
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    http::request(service.public(), "POST", path, &headers, body.as_bytes()).await
}

fn id(answer: &Value) -> (u64, u64) {
    let text = answer["id"].as_str().unwrap_or_else(|| panic!("no id in {answer}"));
    let (milliseconds, sequence) = text.split_once('-').expect("an id");
    (milliseconds.parse().expect("a number"), sequence.parse().expect("a number"))
}

/// One service on each backplane.
async fn services(settings: &[(&str, &str)]) -> (RedisServer, [Service; 2]) {
    let redis = RedisServer::start().await;
    let on_redis = Service::start_on(&redis.url(), settings).await;
    (redis, [on_redis, Service::start(settings).await])
}

#[tokio::test]
async fn every_answer_has_an_id_and_they_grow() {
    let (_redis, services) = services(&[]).await;
    for service in services {
        let mut last = (0, 0);
        for _ in 0..5 {
            let answer = service.publish("ann", "hello").await;
            assert_eq!(answer.status, 202);
            let next = id(&answer.json());
            assert!(next > last, "{next:?} after {last:?}");
            last = next;
        }
        let body = r#"[{"user_id":"ann","data":1},{"user_id":"ann","data":2}]"#;
        let answers = post(&service, "/v1/messages", &[], body).await.json();
        assert!(last < id(&answers[0]) && id(&answers[0]) < id(&answers[1]), "{answers}");
    }
}

#[tokio::test]
async fn without_history_there_is_no_id() {
    let (_redis, services) = services(&[("HISTORY_SIZE", "0")]).await;
    for service in services {
        let mut ann = service.connect("ann").await;
        let headers = [("traceparent", TRACE)];
        let answer = post(&service, "/v1/users/ann/messages", &headers, "hello").await;
        assert_eq!((answer.status, answer.json()), (202, json!({ "id": null, "subscribers": 1 })));
        assert_eq!(ann.text().await, "hello");
    }
}

#[tokio::test]
async fn a_repetition_is_answered_as_the_first_time_and_does_nothing() {
    for history in ["100", "0"] {
        let (_redis, services) = services(&[("HISTORY_SIZE", history)]).await;
        for service in services {
            let mut ann = service.connect("ann").await;
            let key = [("idempotency-key", "essay-7/done")];
            let first = post(&service, "/v1/users/ann/messages", &key, "once").await;
            let again = post(&service, "/v1/users/ann/messages", &key, "twice").await;
            assert_eq!((first.status, again.status), (202, 202));
            assert_eq!(first.json(), again.json());
            let other = post(&service, "/v1/users/bob/messages", &key, "once").await;
            assert_eq!(other.json()["subscribers"], 0, "a key is its user's own");

            let batch = r#"[{"user_id":"ann","data":1},{"user_id":"ann","data":2}]"#;
            let first = post(&service, "/v1/messages", &key, batch).await;
            let again = post(&service, "/v1/messages", &key, batch).await;
            assert_eq!((first.status, first.json()), (202, again.json()));
            service.publish("ann", "last").await;
            for expected in ["once", "1", "2", "last"] {
                assert_eq!(ann.text().await, expected);
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let service = Service::start(&[]).await;
    let long = "x".repeat(256);
    for headers in [
        &[("idempotency-key", "")][..],
        &[("idempotency-key", "a b")],
        &[("idempotency-key", "größe")],
        &[("idempotency-key", &long)],
        &[("idempotency-key", "a"), ("idempotency-key", "a")],
    ] {
        for (path, body) in
            [("/v1/users/ann/messages", "x"), ("/v1/messages", r#"[{"user_id":"ann","data":1}]"#)]
        {
            let answer = post(&service, path, headers, body).await;
            check_answer(&answer, 400, "VALIDATION_ERROR");
            let message = answer.json()["error_detail"]["message"].to_string();
            assert!(message.contains("Idempotency-Key"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_trace_is_kept_and_what_is_none_is_ignored() {
    let redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    for (trace, kept) in [(TRACE, true), ("00-nonsense", false), ("", false)] {
        redis.run::<()>("FLUSHALL", &[]).await;
        let headers = [("traceparent", trace)];
        assert_eq!(post(&service, "/v1/users/ann/messages", &headers, "x").await.status, 202);
        let entries: Vec<(String, Vec<String>)> = redis.run("XRANGE {ws:ann}:history - +", &[]).await;
        let expected = if kept { vec!["p", "x", "t", TRACE] } else { vec!["p", "x"] };
        assert_eq!(entries[0].1, expected);
    }
}

#[tokio::test]
async fn what_redis_did_not_take_is_no_202() {
    let mut redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    assert_eq!(service.publish("ann", "before").await.status, 202);
    redis.run::<()>("CONFIG SET maxmemory 1", &[]).await;
    check_answer(&service.publish("ann", "full").await, 503, "EXTERNAL_SERVICE_ERROR");
    redis.run::<()>("CONFIG SET maxmemory 0", &[]).await;
    let kept: u64 = redis.run("XLEN {ws:ann}:history", &[]).await;
    assert_eq!(kept, 1);
    redis.stop();
    check_answer(&service.publish("ann", "away").await, 503, "SERVICE_UNAVAILABLE");
    redis.restart().await;
    eventually("the service finds it again", LOCAL, async || {
        service.publish("ann", "after").await.status == 202
    })
    .await;
    let kept: u64 = redis.run("XLEN {ws:ann}:history", &[]).await;
    assert_eq!(kept, 1, "a server without a disk begins anew");
}
