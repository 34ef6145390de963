//! Browsers' questions about calls from other origins.

use crate::support::http::{self, Answer};
use crate::support::schema::check_answer;
use crate::support::service::{Service, bearer};

const ORIGIN: &str = "https://app.example";

async fn preflight(service: &Service, origin: &str, method: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    http::request(service.public(), "OPTIONS", "/v1/messages", &headers, b"").await
}

fn lists(answer: &Answer, header: &str) -> Vec<String> {
    let value = answer.header(header).unwrap_or_default();
    value.split(',').map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty()).collect()
}

#[tokio::test]
async fn an_allowed_origin_may_call_with_credentials() {
    let service = Service::start(&[("ALLOWED_ORIGINS", ORIGIN)]).await;
    let answer = preflight(&service, ORIGIN, "POST").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let mut methods = lists(&answer, "access-control-allow-methods");
    methods.sort();
    assert_eq!(methods, ["get", "post"]);
    let headers = lists(&answer, "access-control-allow-headers");
    assert!(headers.contains(&"authorization".to_owned()) && headers.contains(&"content-type".to_owned()));

    let headers = [("origin", ORIGIN), ("authorization", &bearer())];
    let answer = http::request(service.public(), "POST", "/v1/users/ann/messages", &headers, b"x").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (202, Some(ORIGIN)));
    assert!(lists(&answer, "access-control-expose-headers").contains(&"x-correlation-id".to_owned()));
    assert!(lists(&answer, "vary").contains(&"origin".to_owned()), "or a cache would hand it to others");
}

#[tokio::test]
async fn a_page_can_read_errors_too() {
    let service = Service::start(&[("ALLOWED_ORIGINS", ORIGIN)]).await;
    for (method, path, status, code) in [
        ("POST", "/v1/users/ann/messages", 401, "INVALID_API_KEY"),
        ("GET", "/nothing", 404, "RESOURCE_NOT_FOUND"),
        ("GET", "/ws", 426, "INVALID_REQUEST"),
        ("GET", "/v1/messages", 405, "INVALID_REQUEST"),
    ] {
        let answer = http::request(service.public(), method, path, &[("origin", ORIGIN)], b"").await;
        check_answer(&answer, status, code);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{path}");
    }
}

#[tokio::test]
async fn a_stranger_gets_no_permission() {
    let service = Service::start(&[("ALLOWED_ORIGINS", ORIGIN)]).await;
    for origin in ["https://evil.example", "https://app.example.evil.example", "null"] {
        let answer = preflight(&service, origin, "POST").await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        let answer = http::request(service.public(), "GET", "/healthz", &[("origin", origin)], b"").await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn any_origin_may_call_where_all_are_allowed() {
    let service = Service::start(&[("ALLOWED_ORIGINS", "*")]).await;
    let answer = preflight(&service, "https://any.example", "GET").await;
    // Not `*`, which browsers refuse together with credentials.
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://any.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
}

#[tokio::test]
async fn the_admin_port_answers_no_browser() {
    let service = Service::start(&[("ALLOWED_ORIGINS", "*")]).await;
    let answer = http::request(service.admin(), "GET", "/status", &[("origin", ORIGIN)], b"").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}
