//! The publish API.

use serde_json::{Value, json};

use crate::support::http::{self, Answer};
use crate::support::schema::check_answer;
use crate::support::service::{Service, bearer, config};

async fn batch(service: &Service, body: &[u8]) -> Answer {
    http::request(service.public(), "POST", "/v1/messages", &[("authorization", &bearer())], body).await
}

#[tokio::test]
async fn a_message_is_accepted_whether_or_not_somebody_is_there() {
    let service = Service::start(&[]).await;
    let answer = service.publish("ann", "nobody hears").await;
    assert_eq!((answer.status, &answer.json()["subscribers"]), (202, &json!(0)));
    let (mut first, mut second) = (service.connect("ann").await, service.connect("ann").await);
    let answer = service.publish("ann", "heard").await;
    assert_eq!((answer.status, &answer.json()["subscribers"]), (202, &json!(1)), "pods, not connections");
    assert_eq!((first.text().await, second.text().await), ("heard".to_owned(), "heard".to_owned()));
}

#[tokio::test]
async fn the_key_is_asked_for_before_anything_else() {
    let service = Service::start(&[]).await;
    let wrong = format!("{}x", bearer());
    let basic = "Basic YTpi".to_owned();
    let cases: [&[(&str, &str)]; 5] = [
        &[],
        &[("authorization", &wrong)],
        &[("authorization", "Bearer ")],
        &[("authorization", &basic)],
        &[("authorization", &bearer()), ("authorization", &bearer())],
    ];
    for headers in cases {
        for (path, body) in [("/v1/users/ann/messages", &b""[..]), ("/v1/messages", b"broken")] {
            let answer = http::request(service.public(), "POST", path, headers, body).await;
            check_answer(&answer, 401, "INVALID_API_KEY");
        }
    }
    let lower = bearer().replace("Bearer", "bearer");
    let answer =
        http::request(service.public(), "POST", "/v1/users/ann/messages", &[("authorization", &lower)], b"x")
            .await;
    assert_eq!(answer.status, 202, "a scheme has no case");
}

#[tokio::test]
async fn without_a_configured_key_there_is_no_publish_api() {
    let mut config = config(&[]);
    config.publish.api_key = None;
    let service = Service::start_with(config).await;
    for path in ["/v1/users/ann/messages", "/v1/messages"] {
        let answer =
            http::request(service.public(), "POST", path, &[("authorization", &bearer())], b"[]").await;
        check_answer(&answer, 404, "RESOURCE_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_bad_payload_is_refused() {
    let service = Service::start(&[("MAX_MESSAGE_BYTES", "64")]).await;
    let path = "/v1/users/ann/messages";
    for (body, status) in [(&b""[..], 400), (b"a\xff", 400), (&[b'x'; 65], 413)] {
        let answer =
            http::request(service.public(), "POST", path, &[("authorization", &bearer())], body).await;
        check_answer(&answer, status, "VALIDATION_ERROR");
    }
    assert_eq!(service.publish("ann", &"x".repeat(64)).await.status, 202);
    // A body without a length is measured as it comes.
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        bearer()
    );
    let chunked = format!("{head}41\r\n{}\r\n0\r\n\r\n", "x".repeat(65));
    check_answer(
        &http::exchange(service.public(), chunked.as_bytes()).await.expect("answered"),
        413,
        "VALIDATION_ERROR",
    );
}

#[tokio::test]
async fn a_batch_is_published_in_order_and_answered_in_order() {
    let service = Service::start(&[]).await;
    let (mut ann, mut bob) = (service.connect("ann").await, service.connect("bob").await);
    // Written out, for its spaces, escapes and order of keys must arrive as they are.
    let body = r#" [ {"user_id":"ann","data": {"b" : 1.0,  "a":"\u00e9"} },
        {"data":null,"user_id":"nobody"},
        {"user_id":"bob","data":"a \"text\""},
        {"user_id":"ann","data":1e2},{"user_id":"ann","data":[ ]},{"user_id":"\u0061nn","data":"größe"} ] "#;
    let answer = batch(&service, body.as_bytes()).await;
    let subscribers: Vec<Value> =
        answer.json().as_array().expect("a list").iter().map(|one| one["subscribers"].clone()).collect();
    assert_eq!((answer.status, json!(subscribers)), (202, json!([1, 0, 1, 1, 1, 1])));
    for expected in [r#"{"b" : 1.0,  "a":"\u00e9"}"#, "1e2", "[ ]", "\"größe\""] {
        assert_eq!(ann.text().await, expected);
    }
    assert_eq!(bob.text().await, r#""a \"text\"""#);
    let empty = batch(&service, b"[]").await;
    assert_eq!((empty.status, empty.json()), (202, json!([])));
}

#[tokio::test]
async fn a_batch_with_one_bad_message_publishes_nothing() {
    let service = Service::start(&[("MAX_MESSAGE_BYTES", "64")]).await;
    let mut ann = service.connect("ann").await;
    let large = format!(r#"{{"user_id":"ann","data":"{}"}}"#, "x".repeat(64));
    let long_id = format!(r#"{{"user_id":"{}","data":1}}"#, "x".repeat(257));
    for (bad, status) in [
        (r#"{"user_id":"","data":1}"#, 422),
        (long_id.as_str(), 422),
        (r#"{"user_id":"ann"}"#, 422),
        (r#"{"data":1}"#, 422),
        (r#"{"user_id":7,"data":1}"#, 422),
        (r#"{"user_id":"ann","data":1,"ttl":5}"#, 422),
        ("7", 422),
        (large.as_str(), 413),
        (r#"{"user_id":"ann","data":}"#, 400),
        (r#"{"user_id":"ann","data":1"#, 400),
    ] {
        let body = format!(r#"[{{"user_id":"ann","data":"before"}},{bad}]"#);
        check_answer(&batch(&service, body.as_bytes()).await, status, "VALIDATION_ERROR");
    }
    for (body, status) in
        [("", 400), ("{", 400), ("[1", 400), ("[7]]", 400), ("{}", 422), ("\"text\"", 422), ("null", 422)]
    {
        check_answer(&batch(&service, body.as_bytes()).await, status, "VALIDATION_ERROR");
    }
    check_answer(&batch(&service, b"[\"\xff\"]").await, 400, "VALIDATION_ERROR");
    service.publish("ann", "after").await;
    assert_eq!(ann.text().await, "after", "nothing came before it");
}

#[tokio::test]
async fn a_batch_has_at_most_a_thousand_messages() {
    let service = Service::start(&[]).await;
    let mut ann = service.connect("ann").await;
    let of = |count: usize| {
        let messages: Vec<Value> = (0..count).map(|n| json!({ "user_id": "ann", "data": n })).collect();
        serde_json::to_vec(&messages).expect("JSON")
    };
    check_answer(&batch(&service, &of(1_001)).await, 413, "VALIDATION_ERROR");
    let answer = batch(&service, &of(1_000)).await;
    assert_eq!((answer.status, answer.json().as_array().map(Vec::len)), (202, Some(1_000)));
    for number in 0..1_000 {
        assert_eq!(ann.text().await, number.to_string());
    }
    let huge = format!(r#"[{{"user_id":"ann","data":"{}"}}]"#, "x".repeat(5 << 20));
    check_answer(&batch(&service, huge.as_bytes()).await, 413, "VALIDATION_ERROR");
}
