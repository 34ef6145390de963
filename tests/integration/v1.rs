//! `websocket-service.v1` as a client meets it: hello, messages, gaps, resuming, its own frames.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{Client, Closed};
use crate::support::redis::RedisServer;
use crate::support::schema::check;
use crate::support::service::{Service, token, token_for};

/// A client in v1 mode, its hello read.
pub(crate) struct V1 {
    client: Client,
    pub(crate) hello: Value,
}

impl V1 {
    pub(crate) async fn connect(service: &Service, user: &str, last_event_id: Option<&str>) -> Self {
        let mut url = ws(service, user);
        if let Some(id) = last_event_id {
            url += &format!("&last_event_id={id}");
        }
        let offer = [("Sec-WebSocket-Protocol", "websocket-service.v1")];
        let client = Client::connect_with(&url, &offer).await.expect("an upgrade");
        assert_eq!(client.header("sec-websocket-protocol"), Some("websocket-service.v1"));
        let mut v1 = Self { client, hello: Value::Null };
        v1.hello = v1.frame().await;
        assert_eq!(v1.hello["type"], "hello", "first, always");
        v1
    }

    pub(crate) fn cursor(&self) -> String {
        self.hello["cursor"].as_str().expect("a cursor").to_owned()
    }

    pub(crate) async fn frame(&mut self) -> Value {
        let frame = serde_json::from_str(&self.client.text().await).expect("a JSON object a frame");
        check("v1-server-frame", &frame);
        frame
    }

    pub(crate) async fn next(&mut self) -> Result<Value, Closed> {
        self.client.next().await.map(|text| serde_json::from_str(&text).expect("JSON"))
    }

    pub(crate) async fn says(&mut self, frame: &Value) {
        self.client.send(Message::text(frame.to_string())).await;
    }

    /// The next message's id and data.
    pub(crate) async fn message(&mut self) -> (String, Value) {
        let frame = self.frame().await;
        assert_eq!(frame["type"], "message", "{frame}");
        (frame["id"].as_str().expect("an id").to_owned(), frame["data"].clone())
    }
}

fn ws(service: &Service, user: &str) -> String {
    service.url(&format!("?token={}", token(user)))
}

/// Publishes over HTTP and returns the id.
async fn publish(service: &Service, user: &str, payload: &str) -> String {
    let answer = service.publish(user, payload).await;
    assert_eq!(answer.status, 202, "{:?}", String::from_utf8_lossy(&answer.body));
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    body["id"].as_str().expect("an id").to_owned()
}

/// The same on both backplanes.
async fn on_both(test: impl AsyncFn(&Service)) {
    test(&Service::start(&[]).await).await;
    let redis = RedisServer::start().await;
    test(&Service::start_on(&redis.url(), &[]).await).await;
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_once_and_in_order() {
    on_both(async |service| {
        let mut first = V1::connect(service, "ann", None).await;
        assert_eq!((&first.hello["user_id"], &first.hello["resumed"]), (&json!("ann"), &json!(false)));
        assert_eq!(first.hello["heartbeat_seconds"], 30);
        assert_eq!(first.hello["history"], json!({ "messages": 100, "seconds": 3600 }));
        let id = publish(service, "ann", r#"{"n":1}"#).await;
        assert_eq!(first.message().await, (id.clone(), json!({ "n": 1 })));
        drop(first);

        let mut missed = Vec::new();
        for n in 2..=60 {
            missed.push(publish(service, "ann", &n.to_string()).await);
        }
        let mut back = V1::connect(service, "ann", Some(&id)).await;
        assert_eq!((&back.hello["resumed"], back.cursor()), (&json!(true), id));
        for (id, n) in missed.into_iter().zip(2..) {
            assert_eq!(back.message().await, (id, json!(n)));
        }
        let live = publish(service, "ann", "61").await;
        assert_eq!(back.message().await, (live, json!(61)));
    })
    .await;
}

#[tokio::test]
async fn a_first_comer_s_cursor_is_enough_to_miss_nothing() {
    on_both(async |service| {
        for user in ["new", "known"] {
            if user == "known" {
                publish(service, user, "0").await;
            }
            let first = V1::connect(service, user, None).await;
            let cursor = first.cursor();
            drop(first);
            let missed = publish(service, user, "1").await;
            let mut back = V1::connect(service, user, Some(&cursor)).await;
            assert_eq!(back.hello["resumed"], true, "{user}");
            assert_eq!(back.message().await, (missed, json!(1)));
        }
    })
    .await;
}

#[tokio::test]
async fn an_id_that_proves_nothing_is_a_gap_and_all_that_history_holds() {
    on_both(async |service| {
        let kept = publish(service, "ann", "1").await;
        // Of the same millisecond it may be the same on Redis; earlier, it might be the one right before ann's, and good.
        let other = publish(service, "bob", "7").await;
        let long = "9".repeat(300);
        for given in ["1-0", "nonsense", "99999999999999-0", "%20", "1-", &other, "%22%0a", &long] {
            if given == other && other == kept {
                continue;
            }
            let mut back = V1::connect(service, "ann", Some(given)).await;
            assert_eq!(back.hello["resumed"], false, "{given}");
            let gap = back.frame().await;
            assert_eq!(gap["type"], "gap", "{given}");
            assert!(gap["after"].as_str().is_some_and(|after| after.len() <= 64), "{gap}");
            assert_eq!(back.message().await, (kept.clone(), json!(1)), "and never another user's");
            // Who is cut off right after its hello has lost nothing by that.
            let mut again = V1::connect(service, "ann", Some(&back.cursor())).await;
            assert_eq!(again.hello["resumed"], true, "{given}");
            assert_eq!(again.message().await, (kept.clone(), json!(1)));
        }
        // Nothing was ever published: the gap is all, and the new cursor is good.
        let mut nothing = V1::connect(service, "eve", Some("5-0")).await;
        assert_eq!(nothing.frame().await, json!({ "type": "gap", "after": "5-0" }));
        let again = V1::connect(service, "eve", Some(&nothing.cursor())).await;
        assert_eq!(again.hello["resumed"], true);
    })
    .await;
}

#[tokio::test]
async fn history_that_was_trimmed_is_a_gap() {
    let redis = RedisServer::start().await;
    let on_redis = Service::start_on(&redis.url(), &[("HISTORY_SIZE", "5")]).await;
    let in_process = Service::start(&[("HISTORY_SIZE", "5")]).await;
    for service in [&on_redis, &in_process] {
        let first = publish(service, "ann", "0").await;
        // Redis trims whole blocks of a hundred.
        for n in 1..=300 {
            publish(service, "ann", &n.to_string()).await;
        }
        let mut back = V1::connect(service, "ann", Some(&first)).await;
        assert_eq!(back.hello["resumed"], false);
        assert_eq!(back.frame().await, json!({ "type": "gap", "after": first }));
        let (_, oldest) = back.message().await;
        for n in oldest.as_u64().expect("a number") + 1..=300 {
            assert_eq!(back.message().await.1, json!(n), "without holes");
        }
    }
}

#[tokio::test]
async fn the_header_resumes_too_and_the_query_counts_before_it() {
    let service = Service::start(&[]).await;
    let id = publish(&service, "ann", "1").await;
    let missed = publish(&service, "ann", "2").await;
    let offer = ("Sec-WebSocket-Protocol", "websocket-service.v1");
    for (query, header) in [("", id.as_str()), (id.as_str(), "nonsense")] {
        let url = format!("{}&last_event_id={query}", ws(&service, "ann"));
        let client =
            Client::connect_with(&url, &[offer, ("Last-Event-ID", header)]).await.expect("an upgrade");
        let mut v1 = V1 { client, hello: Value::Null };
        assert_eq!(v1.frame().await["resumed"], true);
        assert_eq!(v1.message().await.0, missed);
    }
}

#[tokio::test]
async fn every_kind_of_message_has_its_frame() {
    let redis = RedisServer::start().await;
    let service = Service::start_on(&redis.url(), &[]).await;
    let mut client = V1::connect(&service, "ann", None).await;
    redis.publish("ann", b"bare text").await;
    assert_eq!(client.frame().await, json!({ "type": "message", "text": "bare text" }));
    redis.publish("ann", br#"{"type":"notification"}"#).await;
    assert_eq!(client.frame().await, json!({ "type": "message", "data": { "type": "notification" } }));
    let id = publish(&service, "ann", "not json").await;
    assert_eq!(client.frame().await, json!({ "type": "message", "id": id, "text": "not json" }));
    // What looks like an id in a bare PUBLISH is a payload, and what is no record reaches nobody.
    redis.publish("ann", b"1-1\x1eforged").await;
    assert_eq!(client.frame().await, json!({ "type": "message", "text": "1-1\u{1e}forged" }));
    let _: u64 = redis.run("PUBLISH", &[b"{ws:ann}:messages", b"forged"]).await;
    redis.publish("ann", b"7").await;
    assert_eq!(client.frame().await, json!({ "type": "message", "data": 7 }));
    let malformed = service.metric("websocket_messages_failed_total{error_type=\"malformed\"}").await;
    assert!((malformed - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn plain_clients_get_the_payload_alone_beside_v1_clients() {
    on_both(async |service| {
        let mut plain = service.connect("ann").await;
        let mut v1 = V1::connect(service, "ann", None).await;
        let id = publish(service, "ann", r#"{ "n":1 }"#).await;
        assert_eq!(plain.text().await, r#"{ "n":1 }"#);
        assert_eq!(v1.message().await, (id, json!({ "n": 1 })));
        plain.send(Message::text("hello")).await;
        assert_eq!(plain.text().await, "Echo: hello");
    })
    .await;
}

#[tokio::test]
async fn a_client_s_own_frames() {
    let service = Service::start(&[]).await;
    let mut client = V1::connect(&service, "ann", None).await;
    client.says(&json!({ "type": "ping", "data": [1, "x"] })).await;
    assert_eq!(client.frame().await, json!({ "type": "pong", "data": [1, "x"] }));
    client.says(&json!({ "type": "of a later version" })).await;
    client.client.send(Message::text("Echo?")).await;
    let error = client.frame().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("INVALID_REQUEST")));
    let correlation_id = client.client.header("x-correlation-id").expect("an id").to_owned();
    assert_eq!(error["correlation_id"], correlation_id);

    client.says(&json!({ "type": "auth", "token": "no token" })).await;
    assert_eq!(client.frame().await["code"], "AUTHENTICATION_ERROR");
    client.says(&json!({ "type": "auth", "token": token("ann") })).await;
    client.says(&json!({ "type": "ping" })).await;
    assert_eq!(client.frame().await, json!({ "type": "pong" }), "a good token is taken without a word");
    client.says(&json!({ "type": "auth", "token": token("bob") })).await;
    let closed = client.next().await.expect_err("another user's token closes");
    assert_eq!((closed.code, closed.field("error_code").as_str()), (1008, "AUTHENTICATION_ERROR"));
}

#[tokio::test]
async fn a_shorter_token_ends_the_connection_sooner() {
    let service = Service::start(&[("JWT_LEEWAY_SECONDS", "0")]).await;
    let mut client = V1::connect(&service, "ann", None).await;
    client.says(&json!({ "type": "auth", "token": token_for("ann", Duration::from_secs(2)) })).await;
    let closed = client.next().await.expect_err("its end");
    assert_eq!((closed.code, closed.field("message").as_str()), (1008, "Token has expired"));
}

#[tokio::test]
async fn without_history_v1_still_talks() {
    let service = Service::start(&[("HISTORY_SIZE", "0")]).await;
    let mut client = V1::connect(&service, "ann", Some("1-0")).await;
    assert_eq!((&client.hello["cursor"], &client.hello["history"]), (&Value::Null, &Value::Null));
    assert_eq!(client.hello["resumed"], false);
    assert_eq!(service.publish("ann", "7").await.status, 202);
    assert_eq!(client.frame().await, json!({ "type": "message", "data": 7 }));
}

#[tokio::test]
async fn a_drain_invites_its_clients_back() {
    let drain = [("DRAIN_LAME_DUCK_SECONDS", "0"), ("DRAIN_SPREAD_SECONDS", "1")];
    let service = Service::start(&drain).await;
    let mut client = V1::connect(&service, "ann", None).await;
    service.drain.start();
    let invitation = client.frame().await;
    assert_eq!((&invitation["type"], &invitation["reason"]), (&json!("reconnect"), &json!("drain")));
    assert!(invitation["after_ms"].as_u64().is_some_and(|after| after <= 1_000), "{invitation}");
    assert_eq!(client.next().await.expect_err("the close").code, 1012);

    let service = Service::start(&drain).await;
    let mut client = V1::connect(&service, "ann", None).await;
    service.drain.hurry();
    let invitation = client.frame().await;
    assert_eq!((&invitation["type"], &invitation["reason"]), (&json!("reconnect"), &json!("shutdown")));
}
