//! One shape for every error, and one correlation id for an answer, its body and its close frame.

use serde_json::Value;

use crate::support::http::{self, Answer};
use crate::support::raw::Raw;
use crate::support::schema::{check_answer, check_close};
use crate::support::service::{Service, bearer, token};

const ID: &str = "6f0c2d3e-5a55-4c93-9d51-0f6f4a7b8c9d";

/// A request, and the error it must be answered with.
struct Case {
    admin: bool,
    method: &'static str,
    path: &'static str,
    body: &'static [u8],
    authorized: bool,
    status: u16,
    code: &'static str,
}

const fn case(method: &'static str, path: &'static str, status: u16, code: &'static str) -> Case {
    Case { admin: false, method, path, body: b"", authorized: true, status, code }
}

const fn admin(method: &'static str, path: &'static str, status: u16, code: &'static str) -> Case {
    Case { admin: true, ..case(method, path, status, code) }
}

const BATCH: &str = "/v1/messages";
const ONE: &str = "/v1/users/ann/messages";

fn cases() -> Vec<Case> {
    vec![
        case("GET", "/nothing", 404, "RESOURCE_NOT_FOUND"),
        case("POST", "/healthz", 405, "INVALID_REQUEST"),
        case("GET", BATCH, 405, "INVALID_REQUEST"),
        case("GET", "/ws", 426, "INVALID_REQUEST"),
        Case { authorized: false, ..case("POST", ONE, 401, "INVALID_API_KEY") },
        Case { authorized: false, ..case("POST", BATCH, 401, "INVALID_API_KEY") },
        case("POST", ONE, 400, "VALIDATION_ERROR"),
        Case { body: b"\xff", ..case("POST", ONE, 400, "VALIDATION_ERROR") },
        Case { body: &[b'x'; 65_537], ..case("POST", ONE, 413, "VALIDATION_ERROR") },
        Case { body: b"x", ..case("POST", "/v1/users/%FF/messages", 400, "VALIDATION_ERROR") },
        Case { body: b"x", ..case("POST", "/v1/users//messages", 400, "VALIDATION_ERROR") },
        Case { body: b"[", ..case("POST", BATCH, 400, "VALIDATION_ERROR") },
        Case { body: b"{}", ..case("POST", BATCH, 422, "VALIDATION_ERROR") },
        admin("GET", "/nothing", 404, "RESOURCE_NOT_FOUND"),
        admin("GET", "/drain", 405, "INVALID_REQUEST"),
        admin("PUT", "/log-level", 400, "VALIDATION_ERROR"),
        Case { body: b"{\"level\":\"loud\"}", ..admin("PUT", "/log-level", 400, "VALIDATION_ERROR") },
        admin("GET", "/v1/users/%FF/connections", 400, "VALIDATION_ERROR"),
    ]
}

async fn ask(service: &Service, case: &Case, path: &str, headers: &[(&str, &str)]) -> Answer {
    let key = bearer();
    let mut headers = headers.to_vec();
    if case.authorized {
        headers.push(("authorization", &key));
    }
    let address = if case.admin { service.admin() } else { service.public() };
    http::request(address, case.method, path, &headers, case.body).await
}

#[tokio::test]
async fn every_error_has_the_one_body_and_the_caller_s_correlation_id() {
    let service = Service::start(&[]).await;
    for case in cases() {
        let answer = ask(&service, &case, case.path, &[]).await;
        let made = check_answer(&answer, case.status, case.code);
        let taken = ask(&service, &case, case.path, &[("x-correlation-id", ID)]).await;
        assert_eq!(check_answer(&taken, case.status, case.code), ID, "{}", case.path);
        let with_query = format!("{}?a=b&correlation_id={ID}", case.path);
        let taken = ask(&service, &case, &with_query, &[]).await;
        assert_eq!(check_answer(&taken, case.status, case.code), ID, "{}", case.path);
        for no_uuid in ["1234", "", "6f0c2d3e-5a55-4c93-9d51", "{}; drop"] {
            let other = ask(&service, &case, case.path, &[("x-correlation-id", no_uuid)]).await;
            let id = check_answer(&other, case.status, case.code);
            assert!(id != no_uuid && id != made, "made anew");
        }
    }
}

#[tokio::test]
async fn every_good_answer_has_the_correlation_id() {
    let service = Service::start(&[]).await;
    for path in ["/healthz", "/readyz", "/status", "/metrics", "/v1/users/ann/connections"] {
        let answer = http::request(service.admin(), "GET", path, &[("x-correlation-id", ID)], b"").await;
        assert_eq!((answer.status, answer.header("x-correlation-id")), (200, Some(ID)), "{path}");
    }
    let headers = [("x-correlation-id", ID), ("authorization", &bearer())];
    let answer = http::request(service.public(), "POST", ONE, &headers, b"x").await;
    assert_eq!((answer.status, answer.header("x-correlation-id")), (202, Some(ID)));
    let preflight = [
        ("x-correlation-id", ID),
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "POST"),
    ];
    let answer = http::request(service.public(), "OPTIONS", BATCH, &preflight, b"").await;
    assert_eq!((answer.status, answer.header("x-correlation-id")), (200, Some(ID)));
}

#[tokio::test]
async fn an_upgrade_s_id_is_that_of_its_close_frame() {
    let service = Service::start(&[]).await;
    let good = format!("?token={}", token("ann"));
    let upgraded = Raw::open(service.public(), &good, &[("x-correlation-id", ID)]).await.expect("upgraded");
    assert_eq!(upgraded.answer.header("x-correlation-id"), Some(ID));

    let client = service.connect("bob").await;
    let made = client.header("x-correlation-id").expect("an id").to_owned();
    assert_eq!(made.len(), ID.len());

    // A browser can set no header on an upgrade.
    let query = format!("?correlation_id={ID}&token=nonsense");
    let mut refused = Raw::open(service.public(), &query, &[]).await.expect("upgraded");
    assert_eq!(refused.answer.header("x-correlation-id"), Some(ID));
    let closed = refused.closed().await;
    check_close(&closed, 1008, "AUTHENTICATION_ERROR");
    assert_eq!(closed.field("correlation_id"), ID);

    // Also when the end comes long after.
    let mut later =
        Raw::open(service.public(), &format!("{good}&correlation_id={ID}"), &[]).await.expect("upgraded");
    http::request(service.admin(), "DELETE", "/v1/users/ann/connections", &[], b"").await;
    let closed = later.closed().await;
    check_close(&closed, 4004, "AUTHORIZATION_ERROR");
    assert_eq!(closed.field("correlation_id"), ID);
}

#[tokio::test]
async fn a_path_that_takes_other_methods_names_them() {
    let service = Service::start(&[]).await;
    for (path, method, allowed) in [(BATCH, "GET", "POST"), ("/healthz", "DELETE", "GET")] {
        let answer = http::request(service.public(), method, path, &[], b"").await;
        assert_eq!(answer.status, 405);
        assert!(answer.header("allow").is_some_and(|methods| methods.contains(allowed)), "{answer:?}");
    }
}

#[tokio::test]
async fn times_are_of_now_and_in_utc() {
    let service = Service::start(&[]).await;
    let answer = http::request(service.public(), "GET", "/nothing", &[], b"").await;
    let detail: Value = answer.json()["error_detail"].clone();
    let text = detail["timestamp"].as_str().expect("a time");
    let time =
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect("RFC 3339");
    let age = time::OffsetDateTime::now_utc() - time;
    assert!(age >= time::Duration::ZERO && age < time::Duration::seconds(60), "{text}");
    assert!(text.ends_with('Z'));
}
