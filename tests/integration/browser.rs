//! A real browser: the development page, and the example of docs/clients.md.

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::program::{Program, python, repository};
use crate::support::redis::RedisServer;
use crate::support::service::{Service, token};
use crate::support::{Bound, eventually};

/// Chromium starts in a second or two; several at a time on a busy machine take longer.
const BROWSER: Bound = Bound {
    limit: std::time::Duration::from_secs(90),
    reason: "a browser starts in seconds, and the example waits up to 2 and 4 s before it comes back",
};

fn page(arguments: &[&str]) -> Program {
    Program::start(&mut python("tests/browser/page.py", &[arguments, &["--timeout", "80"]].concat()))
}

/// The example, served from an origin of its own, as the user `ann`.
fn example(service: &Service, token: &str, arguments: &[&str]) -> Program {
    let folder = repository().join("examples/clients").display().to_string();
    let address = format!("browser.html#url={}&token={token}&count=4", service.url(""));
    page(&[&["--serve", &folder, &address], arguments].concat())
}

async fn until_connected(service: &Service) {
    eventually("the page is connected", BROWSER, async || {
        service.admin_json("/status").await["connections"] == 1
    })
    .await;
}

async fn assert_done(mut browser: Program) {
    let status = browser.exit(BROWSER).await;
    assert!(status.success(), "{}", browser.text());
}

#[tokio::test]
async fn the_development_page_connects_publishes_and_shows_what_arrives() {
    let process = Daemon::development().await;
    let url = format!("http://localhost:{}/", process.public.port());
    let payload = r#"{"n":1,"text":"größe <b>'\"</b>"}"#;
    assert_done(page(&[&url, "--publish", payload, "--state-text", "demo", "--wait-text", payload])).await;
}

/// Before a restart, over it, and over one after which history has lost the newest message.
#[tokio::test]
async fn the_example_resumes_and_sees_a_gap() {
    let redis = RedisServer::start().await;
    let start = async |port: &str| {
        let settings = [("ALLOWED_ORIGINS", "*"), ("DRAIN_SPREAD_SECONDS", "1"), ("PORT", port)];
        Service::start_on(&redis.url(), &settings).await
    };
    let publish = async |service: &Service, text| {
        let answer = service.publish("ann", text).await;
        answer.json()["id"].as_str().expect("an id").to_owned()
    };
    let other = start("0").await;
    let mut service = start("0").await;
    let port = service.public().port().to_string();
    let shown = r#"["before", "missed", "after", "Something is missing here.", "more"]"#;
    let mut browser = example(&service, &token("ann"), &["--wait-text", "after", "--shown", shown]);
    browser.says("state: open", BROWSER).await;
    publish(&other, "before").await;
    service.replace().await;
    publish(&other, "missed").await;
    service = start(&port).await;
    until_connected(&service).await;
    let lost = publish(&other, "after").await;
    browser.says("message: 'after'", BROWSER).await;
    service.replace().await;
    let deleted: u64 = redis.run("XDEL", &[b"{ws:ann}:history", lost.as_bytes()]).await;
    assert_eq!(deleted, 1);
    publish(&other, "more").await;
    let _service = start(&port).await;
    assert_done(browser).await;
}

#[tokio::test]
async fn the_example_stops_after_the_second_refused_token_and_says_why() {
    let service = Service::start(&[("ALLOWED_ORIGINS", "*")]).await;
    let shown = "closed, 1008: Token is";
    assert_done(example(&service, "no.good.token", &["--wait-state", "stopped", "--state-text", shown]))
        .await;
    assert_eq!(service.metric("jwt_validation_total{result=\"invalid\"}").await, 2.0);
}

/// What a browser's page from elsewhere meets; here without the browser, which hides the status.
#[tokio::test]
async fn a_page_from_another_origin_is_refused() {
    let service = Service::start(&[("ALLOWED_ORIGINS", "https://app.example.com")]).await;
    let url = service.url(&format!("?token={}", token("ann")));
    let answer = Client::connect_with(&url, &[("origin", "https://evil.example.com")]).await;
    assert_eq!(
        answer.err().map(|answer| (answer.status, answer.error_code())),
        Some((403, "AUTHORIZATION_ERROR".to_owned()))
    );
    assert!(Client::connect_with(&url, &[("origin", "https://app.example.com")]).await.is_ok());
}
