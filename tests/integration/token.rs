//! Where a token comes from, which are refused, and how a client is told.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::support::client::Client;
use crate::support::raw::Raw;
use crate::support::schema::{check_answer, check_close};
use crate::support::service::{Service, token, token_for};
use crate::support::tokens::{signed, signed_by, unsigned};

/// Far enough ahead for any test.
const LATER: u64 = 4_000_000_000;

type Headers<'a> = Vec<(&'a str, &'a str)>;

#[tokio::test]
async fn a_token_comes_in_one_of_three_ways() {
    let service = Service::start(&[]).await;
    let token = token("ann");
    let (query, bearer, pair) =
        (format!("?token={token}"), format!("Bearer {token}"), format!("bearer, {token}"));
    let (header, protocol) = ("authorization", "sec-websocket-protocol");
    let ways: [(&str, Headers<'_>, Option<&str>); 6] = [
        (&query, vec![], None),
        ("", vec![(header, &bearer)], None),
        ("", vec![(protocol, &pair)], Some("bearer")),
        // One header on several lines means the same as one line.
        ("", vec![(protocol, "bearer"), (protocol, &token)], Some("bearer")),
        // A subprotocol is selected also where the token is elsewhere.
        (&query, vec![(protocol, "bearer")], Some("bearer")),
        // Another scheme is a proxy's business.
        (&query, vec![(header, "Basic YTpi")], None),
    ];
    for (query, headers, selected) in ways {
        let mut client = Raw::open(service.public(), query, &headers).await.expect("upgraded");
        assert_eq!(client.answer.header(protocol), selected, "{headers:?}");
        let published = service.publish("ann", "hello").await.json();
        assert_eq!(published["subscribers"], 1, "subscribed by the time of the 101");
        assert_eq!(client.answer_frame().await, Some((0x81, b"hello".to_vec())));
    }
}

#[tokio::test]
async fn a_refused_token_is_told_by_a_close_that_says_why() {
    let service = Service::start(&[("JWT_LEEWAY_SECONDS", "0"), ("JWT_ISSUER", "login")]).await;
    let plain = token("ann");
    let issued = |claims: serde_json::Value| {
        let mut claims = claims;
        claims["iss"] = json!("login");
        signed(&claims)
    };
    let good = issued(json!({ "sub": "ann", "exp": LATER }));
    let other_key = signed_by(
        &json!({ "sub": "ann", "exp": LATER }),
        "another-key-that-is-long-enough-012345",
        Algorithm::HS256,
    );
    let hs512 =
        signed_by(&json!({ "sub": "ann", "exp": LATER }), crate::support::service::SECRET, Algorithm::HS512);
    let query = |token: &str| format!("?token={token}");
    let (bearer, pair) = (format!("Bearer {good}"), format!("bearer, {good}"));
    let (header, protocol) = ("authorization", "sec-websocket-protocol");
    let cases: Vec<(String, Headers<'_>, &str)> = vec![
        (String::new(), vec![], "Token is missing"),
        ("?token=".to_owned(), vec![], "Token is missing"),
        (String::new(), vec![(header, "Basic YTpi")], "Token is missing"),
        (String::new(), vec![(protocol, "bearer")], "Token is missing"),
        (format!("?token={good}&token={good}"), vec![], "Several tokens"),
        (query(&good), vec![(header, &bearer)], "Several tokens"),
        (query(&good), vec![(protocol, &pair)], "Several tokens"),
        (String::new(), vec![(header, &bearer), (protocol, &pair)], "Several tokens"),
        (query("nonsense"), vec![], "Token is invalid"),
        (query("%zz"), vec![], "Token is garbled"),
        (query(&"x".repeat(9_000)), vec![], "Token is too long"),
        (query(&unsigned("ann")), vec![], "Token is invalid"),
        (query(&hs512), vec![], "Wrong algorithm"),
        (query(&other_key), vec![], "Wrong signature"),
        (query(&plain), vec![], "Wrong issuer"),
        (query(&issued(json!({ "exp": LATER }))), vec![], "Token lacks sub"),
        (query(&issued(json!({ "sub": "", "exp": LATER }))), vec![], "Bad sub in token"),
        (query(&issued(json!({ "sub": "x".repeat(257), "exp": LATER }))), vec![], "Bad sub in token"),
        (query(&issued(json!({ "sub": "ann" }))), vec![], "Token lacks exp"),
        (query(&issued(json!({ "sub": "ann", "exp": "soon" }))), vec![], "Bad exp in token"),
        (query(&issued(json!({ "sub": "ann", "exp": 1.5 }))), vec![], "Token has expired"),
        (query(&issued(json!({ "sub": "ann", "exp": LATER, "nbf": LATER }))), vec![], "Token not active"),
    ];
    for (query, headers, message) in cases {
        let mut client = Raw::open(service.public(), &query, &headers).await.expect("upgraded");
        // A browser that offered something and gets no selection never sees the close code.
        let offered = headers.iter().any(|(name, _)| *name == protocol);
        assert_eq!(client.answer.header(protocol), offered.then_some("bearer"));
        let closed = client.closed().await;
        assert_eq!(check_close(&closed, 1008, "AUTHENTICATION_ERROR"), message, "{query}");
        assert_eq!(client.answer.header("x-correlation-id"), Some(closed.field("correlation_id").as_str()));
    }
    assert!(Raw::open(service.public(), &query(&good), &[]).await.is_ok());
}

#[tokio::test]
async fn a_refused_token_is_a_401_where_that_is_configured() {
    let service = Service::start(&[("REJECT_WITH", "http")]).await;
    let expired = signed(&json!({ "sub": "ann", "exp": 1_000_000_000 }));
    for (query, message) in [
        (String::new(), "Token is missing"),
        (format!("?token={expired}"), "Token has expired"),
        ("?token=nonsense".to_owned(), "Token is invalid"),
    ] {
        let answer = Raw::open(service.public(), &query, &[]).await.err().expect("refused");
        check_answer(&answer, 401, "AUTHENTICATION_ERROR");
        assert_eq!(answer.json()["error_detail"]["message"], message);
        assert!(!String::from_utf8_lossy(&answer.body).contains(&expired), "an error never shows a token");
    }
}

#[tokio::test]
async fn a_token_that_expires_ends_its_connection() {
    let service = Service::start(&[("JWT_LEEWAY_SECONDS", "0")]).await;
    let query = format!("?token={}", token_for("ann", Duration::from_secs(2)));
    let mut client = Client::connect(&service.url(&query)).await.expect("a token that is still good");
    service.publish("ann", "before").await;
    assert_eq!(client.text().await, "before");
    let closed = client.closed().await;
    assert_eq!(check_close(&closed, 1008, "AUTHENTICATION_ERROR"), "Token has expired");
}

#[tokio::test]
async fn times_may_have_fractions() {
    let service = Service::start(&[]).await;
    let token = signed(&json!({ "sub": "ann", "exp": 4_000_000_000.75, "nbf": 1.5 }));
    let mut client = Client::connect(&service.url(&format!("?token={token}"))).await.expect("a good token");
    service.publish("ann", "hello").await;
    assert_eq!(client.text().await, "hello");
}
