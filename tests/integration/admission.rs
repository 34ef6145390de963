//! What is refused before or instead of a session: origins, limits, requests that are no upgrade, a drain.

use crate::support::client::Client;
use crate::support::http::{self, Answer};
use crate::support::raw::Raw;
use crate::support::schema::{check_answer, check_close};
use crate::support::service::{Service, token};
use crate::support::{LOCAL, eventually};

async fn refused(service: &Service, headers: &[(&str, &str)]) -> Answer {
    let query = format!("?token={}", token("ann"));
    Raw::open(service.public(), &query, headers).await.err().expect("refused")
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").expect("Retry-After").parse().expect("whole seconds")
}

#[tokio::test]
async fn only_allowed_origins_connect() {
    let service = Service::start(&[("ALLOWED_ORIGINS", "https://app.example,https://two.example")]).await;
    let query = format!("?token={}", token("ann"));
    for headers in [&[][..], &[("origin", "https://app.example")], &[("origin", "https://two.example")]] {
        assert!(Raw::open(service.public(), &query, headers).await.is_ok(), "{headers:?}");
    }
    for origin in ["https://evil.example", "http://app.example", "https://app.example.evil.example", "null"] {
        let answer = refused(&service, &[("origin", origin)]).await;
        check_answer(&answer, 403, "AUTHORIZATION_ERROR");
    }
    let open = Service::start(&[("ALLOWED_ORIGINS", "*")]).await;
    assert!(Raw::open(open.public(), &query, &[("origin", "https://any.example")]).await.is_ok());
}

#[tokio::test]
async fn a_full_pod_says_when_to_come_back_and_takes_the_next_when_one_left() {
    let service = Service::start(&[("MAX_CONNECTIONS", "1")]).await;
    let first = service.connect("ann").await;
    let answer = refused(&service, &[]).await;
    check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
    assert!((1..=60).contains(&retry_after(&answer)));
    drop(first);
    eventually("the place is free again", LOCAL, async || {
        Raw::open(service.public(), &format!("?token={}", token("ann")), &[]).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn upgrades_that_come_too_fast_are_refused() {
    let service = Service::start(&[("HANDSHAKES_PER_SECOND", "1")]).await;
    let _first = service.connect("ann").await;
    let answer = refused(&service, &[]).await;
    check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
    assert!(retry_after(&answer) >= 1);
}

#[tokio::test]
async fn an_address_has_its_share() {
    let service = Service::start(&[("MAX_CONNECTIONS_PER_ADDRESS", "1")]).await;
    let _first = service.connect("ann").await;
    let answer = refused(&service, &[]).await;
    check_answer(&answer, 429, "QUOTA_EXCEEDED");
    assert!(retry_after(&answer) >= 1);
}

/// An upgrade that came through a proxy of 127.0.0.1, which says from whom.
async fn forwarded(service: &Service, client: &str, token: &str) -> Option<u16> {
    let headers = [("X-Forwarded-For", client)];
    let opened = Raw::open(service.public(), &format!("?token={token}"), &headers).await;
    opened.err().map(|answer| answer.status)
}

#[tokio::test]
async fn behind_a_trusted_proxy_its_clients_have_the_shares() {
    let settings = [("MAX_CONNECTIONS_PER_ADDRESS", "1"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let service = Service::start(&settings).await;
    let ann = token("ann");
    let open = async |client: &'static str| {
        Raw::open(service.public(), &format!("?token={ann}"), &[("X-Forwarded-For", client)]).await
    };
    let _first = open("198.51.100.1").await.expect("the first of its address");
    let refused = open("203.0.113.5, 198.51.100.1").await.err().expect("what it wrote itself does not count");
    check_answer(&refused, 429, "QUOTA_EXCEEDED");
    let _other = open("198.51.100.2").await.expect("another has its own");
    let shown = http::request(service.admin(), "GET", "/v1/users/ann/connections", &[], b"").await.json();
    let addresses: Vec<_> =
        shown["connections"].as_array().into_iter().flatten().map(|c| &c["address"]).collect();
    assert_eq!(addresses.len(), 2, "{shown}");
    assert!(addresses.iter().any(|address| **address == "198.51.100.2"), "{shown}");
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let service = Service::start(&[("MAX_CONNECTIONS_PER_ADDRESS", "1")]).await;
    let _first = service.connect("ann").await;
    assert_eq!(forwarded(&service, "198.51.100.1", &token("ann")).await, Some(429));
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits() {
    let settings = [("HANDSHAKES_PER_MINUTE_PER_ADDRESS", "2"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let service = Service::start(&settings).await;
    let mut seen = Vec::new();
    for client in ["198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.2"] {
        seen.push(forwarded(&service, client, &token("ann")).await);
    }
    assert_eq!(seen, [None, None, Some(429), None]);
}

#[tokio::test]
async fn an_address_that_guesses_tokens_waits() {
    let settings = [
        ("AUTH_FAILURES_PER_MINUTE_PER_ADDRESS", "2"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("REJECT_WITH", "http"),
    ];
    let service = Service::start(&settings).await;
    let (good, bad) = (token("ann"), "bad");
    let mut seen = Vec::new();
    for (client, token) in [
        ("198.51.100.1", &*good),
        ("198.51.100.1", bad),
        ("198.51.100.1", bad),
        // Its good one too: it does not learn whether a guess was right.
        ("198.51.100.1", &*good),
        ("198.51.100.2", &*good),
    ] {
        seen.push(forwarded(&service, client, token).await);
    }
    assert_eq!(seen, [None, Some(401), Some(401), Some(429), None]);
}

#[tokio::test]
async fn a_user_has_a_limit_that_refuses_the_new_connection() {
    let service = Service::start(&[("MAX_CONNECTIONS_PER_USER", "1")]).await;
    let mut first = service.connect("ann").await;
    let closed = service.connect("ann").await.closed().await;
    check_close(&closed, 4000, "QUOTA_EXCEEDED");
    let _other = service.connect("bob").await;
    service.publish("ann", "still here").await;
    assert_eq!(first.text().await, "still here");

    let service = Service::start(&[("MAX_CONNECTIONS_PER_USER", "1"), ("REJECT_WITH", "http")]).await;
    let _first = service.connect("ann").await;
    check_answer(&refused(&service, &[]).await, 429, "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn or_one_that_closes_the_oldest_once_its_messages_are_written() {
    let service = Service::start(&[
        ("MAX_CONNECTIONS_PER_USER", "2"),
        ("MAX_CONNECTIONS_PER_USER_POLICY", "evict_oldest"),
        ("OUTBOX_BYTES", "16MiB"),
    ])
    .await;
    let mut oldest = service.connect("ann").await;
    let second = service.connect("ann").await;
    // Neither reads, so messages end up in their outboxes once the kernel takes no more.
    let payload = "x".repeat(60_000);
    let mut published = 0;
    while service.metrics.outbox_bytes.get() < 300_000 {
        assert_eq!(service.publish("ann", &payload).await.status, 202);
        published += 1;
    }
    let mut newest = service.connect("ann").await;
    for _ in 0..published {
        assert_eq!(oldest.text().await.len(), payload.len());
    }
    check_close(&oldest.closed().await, 4000, "QUOTA_EXCEEDED");
    service.publish("ann", "for the newest").await;
    assert_eq!(newest.text().await, "for the newest");
    drop(second);
}

#[tokio::test]
async fn what_is_no_upgrade_is_told_so() {
    let service = Service::start(&[]).await;
    let plain = http::request(service.public(), "GET", "/ws", &[], b"").await;
    check_answer(&plain, 426, "INVALID_REQUEST");
    assert_eq!(plain.header("upgrade"), Some("websocket"));

    let upgrade = |version: &'static str, key: &'static str| {
        [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", version),
            ("sec-websocket-key", key),
        ]
    };
    let good_key = "dGhlIHNhbXBsZSBub25jZQ==";
    let old = http::request(service.public(), "GET", "/ws", &upgrade("8", good_key), b"").await;
    check_answer(&old, 426, "INVALID_REQUEST");
    assert_eq!(old.header("sec-websocket-version"), Some("13"), "the version it speaks");
    let bad_key = http::request(service.public(), "GET", "/ws", &upgrade("13", "short"), b"").await;
    check_answer(&bad_key, 400, "INVALID_REQUEST");
    let post = http::request(service.public(), "POST", "/ws", &upgrade("13", good_key), b"").await;
    check_answer(&post, 405, "INVALID_REQUEST");
    assert_eq!(service.metric("websocket_connections_total{status=\"accepted\"}").await, 0.0);
}

#[tokio::test]
async fn a_draining_pod_accepts_as_a_lame_duck_and_then_no_more() {
    let lame = Service::start(&[("DRAIN_LAME_DUCK_SECONDS", "3600")]).await;
    lame.drain.start();
    eventually("unready", LOCAL, async || {
        http::request(lame.admin(), "GET", "/readyz", &[], b"").await.status == 503
    })
    .await;
    let mut client = lame.connect("ann").await;
    lame.publish("ann", "hello").await;
    assert_eq!(client.text().await, "hello");

    let service = Service::start(&[("DRAIN_LAME_DUCK_SECONDS", "0")]).await;
    let client = service.connect("ann").await;
    service.drain.start();
    let closed = client.closed().await;
    check_close(&closed, 1012, "SERVICE_UNAVAILABLE");
    let answer = refused(&service, &[]).await;
    check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
    assert!(retry_after(&answer) >= 1);
    let Err(answer) = Client::connect(&service.url("")).await else { panic!("refused before the token") };
    assert_eq!(answer.status, 503);
}
