//! Keys that issuers publish: how they change, and what becomes of clients while an issuer fails.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::daemon::{Daemon, command};
use crate::support::http;
use crate::support::issuer::{Answer, Issuer, Signer};
use crate::support::raw::Raw;
use crate::support::schema::{check, check_answer, check_close};
use crate::support::service::Service;
use crate::support::{Bound, LOCAL, eventually};

/// A failed fetch is tried again within some seconds at first, and within a minute at last.
const RETRIED: Bound = Bound {
    limit: Duration::from_secs(120),
    reason: "a fetch may take 5 s, the first pauses are of some seconds, and the machine is busy with other tests",
};

async fn start(urls: &str, settings: &[(&str, &str)]) -> Service {
    Service::start(&[&[("JWT_ALGORITHM", "ES256"), ("JWT_JWKS_URL", urls)], settings].concat()).await
}

/// A service that has the keys.
async fn ready(urls: &str, settings: &[(&str, &str)]) -> Service {
    let service = start(urls, settings).await;
    eventually("the keys are there", RETRIED, async || unready(&service).await.is_empty()).await;
    service
}

async fn unready(service: &Service) -> Vec<String> {
    let reasons = service.admin_json("/readyz").await["reasons"].clone();
    serde_json::from_value(reasons).expect("a list of names")
}

fn query(token: &str) -> String {
    format!("?token={token}")
}

/// Why the token is refused: the close code and the message; none where it is taken.
async fn refused(service: &Service, token: &str) -> Option<(u16, String)> {
    let mut client = Client::connect(&service.url(&query(token))).await.expect("upgraded, to be told");
    client.send(Message::text("here")).await;
    match client.next().await {
        Ok(echo) => {
            assert_eq!(echo, "Echo: here");
            None
        }
        Err(closed) => {
            let code = if closed.code == 1013 { "SERVICE_UNAVAILABLE" } else { "AUTHENTICATION_ERROR" };
            Some((closed.code, check_close(&closed, closed.code, code)))
        }
    }
}

fn said(code: u16, message: &str) -> Option<(u16, String)> {
    Some((code, message.to_owned()))
}

#[tokio::test]
async fn a_token_by_a_key_that_was_just_published_passes_at_once() {
    let (old, new, newest) = (Signer::new("2025"), Signer::new("2026"), Signer::new("2027"));
    let issuer = Issuer::start(Answer::keys(&[&old])).await;
    let service = ready(&issuer.url, &[("MAX_CONNECTIONS_PER_USER", "100")]).await;
    assert_eq!(refused(&service, &old.token("ann")).await, None);
    assert_eq!(issuer.requests(), 1, "known keys need no fetch");

    issuer.publishes(&[&old, &new]);
    assert_eq!(refused(&service, &new.token("ann")).await, None);
    assert_eq!(refused(&service, &old.token("ann")).await, None);
    assert_eq!(issuer.requests(), 2);
    assert_eq!(refused(&service, &newest.named("2026").token("ann")).await, said(1008, "Wrong signature"));

    // Another one is as good as there ten seconds after the last that was asked for.
    issuer.publishes(&[&newest]);
    eventually("the newest key is known", RETRIED, async || {
        refused(&service, &newest.token("ann")).await.is_none()
    })
    .await;
    assert_eq!(refused(&service, &old.token("ann")).await, said(1008, "Unknown key"));
    assert!(service.metric("jwks_fetches_total{result=\"ok\"}").await >= 3.0);
    assert!(service.metric("jwks_age_seconds").await < 600.0);
}

#[tokio::test]
async fn a_fresh_token_on_an_open_connection_may_have_a_new_key_too() {
    let (old, new) = (Signer::new("2025"), Signer::new("2026"));
    let issuer = Issuer::start(Answer::keys(&[&old])).await;
    let service = ready(&issuer.url, &[("CLIENT_MESSAGES_PER_SECOND", "0")]).await;
    let auth = |token: String| Message::text(json!({ "type": "auth", "token": token }).to_string());
    let mut client = v1(&service, &old.token("ann")).await;
    client.send(auth("x".repeat(60_000))).await;
    assert_eq!(error(&mut client).await, ("AUTHENTICATION_ERROR".to_owned(), "Token is too long".to_owned()));
    // That it is another user's is known only once the key is.
    issuer.publishes(&[&new]);
    client.send(auth(new.token("bob"))).await;
    let closed = client.closed().await;
    assert_eq!(check_close(&closed, 1008, "AUTHENTICATION_ERROR"), "The token is anot", "cut to fit");

    // Whether a token is good cannot be said while its issuer is away.
    let mut client = v1(&service, &new.token("ann")).await;
    issuer.answers(Answer::Gone);
    eventually("it is told to try again", RETRIED, async || {
        client.send(auth(old.named("2027").token("ann"))).await;
        error(&mut client).await == ("SERVICE_UNAVAILABLE".to_owned(), "No keys at hand".to_owned())
    })
    .await;
    client.send(Message::text(json!({ "type": "ping" }).to_string())).await;
    assert_eq!(frame(&mut client).await["type"], "pong", "it stays, by the token it has");
}

/// A connection in v1 mode, its hello read.
async fn v1(service: &Service, token: &str) -> Client {
    let offer = [("Sec-WebSocket-Protocol", "websocket-service.v1")];
    let mut client = Client::connect_with(&service.url(&query(token)), &offer).await.expect("upgraded");
    assert_eq!(frame(&mut client).await["type"], "hello");
    client
}

async fn frame(client: &mut Client) -> Value {
    let frame = serde_json::from_str(&client.text().await).expect("JSON");
    check("v1-server-frame", &frame);
    frame
}

/// Code and message of the error frame that is next.
async fn error(client: &mut Client) -> (String, String) {
    let frame = frame(client).await;
    let field = |name: &str| frame[name].as_str().unwrap_or_else(|| panic!("no error: {frame}")).to_owned();
    (field("code"), field("message"))
}

#[tokio::test]
async fn a_service_starts_without_its_issuer_and_says_so() {
    let signer = Signer::new("k");
    let issuer = Issuer::start(Answer::Gone).await;
    let (service, by_status) =
        (start(&issuer.url, &[]).await, start(&issuer.url, &[("REJECT_WITH", "http")]).await);
    assert_eq!(unready(&service).await, ["token-keys"]);
    // 1008 would tell clients to throw a good token away.
    assert_eq!(refused(&service, &signer.token("ann")).await, said(1013, "No keys at hand"));
    let answer =
        Raw::open(by_status.public(), &query(&signer.token("ann")), &[]).await.err().expect("refused");
    check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
    let seconds: u32 = answer.header("retry-after").expect("a Retry-After").parse().expect("seconds");
    assert!((1..=10).contains(&seconds));
    assert_eq!(refused(&service, "nonsense").await, said(1008, "Token is invalid"));
    assert!(service.metric("jwt_validation_total{result=\"unavailable\"}").await >= 1.0);

    issuer.publishes(&[&signer]);
    eventually("it is ready", RETRIED, async || unready(&service).await.is_empty()).await;
    assert_eq!(refused(&service, &signer.token("ann")).await, None);
}

#[tokio::test]
async fn an_issuer_that_goes_away_takes_nobody_with_it() {
    let (known, new) = (Signer::new("known"), Signer::new("new"));
    let issuer = Issuer::start(Answer::keys(&[&known])).await;
    let service = ready(&issuer.url, &[]).await;
    let mut connected = Client::connect(&service.url(&query(&known.token("ann")))).await.expect("taken");
    issuer.answers(Answer::Gone);
    assert_eq!(refused(&service, &new.token("bob")).await, said(1013, "No keys at hand"));
    assert_eq!(refused(&service, &known.token("bob")).await, None);
    connected.send(Message::text("still")).await;
    assert_eq!(connected.text().await, "Echo: still");
    assert!(unready(&service).await.is_empty(), "a pod does not leave for that");
    assert!(service.metric("jwks_fetches_total{result=\"failed\"}").await >= 1.0);
    issuer.publishes(&[&known, &new]);
    eventually("it is back", RETRIED, async || refused(&service, &new.token("bob")).await.is_none()).await;
}

#[tokio::test]
async fn whatever_an_issuer_answers_its_keys_count_once_it_answers_well() {
    let signer = Signer::new("k");
    let plain = |head: &str, body: &str| {
        Answer::Raw(format!(
            "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ))
    };
    let elsewhere = Issuer::start(Answer::keys(&[&signer])).await;
    let oct = json!({ "keys": [{ "kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256" }] }).to_string();
    let bad = [
        Answer::Endless,
        Answer::Silence,
        Answer::Raw("\u{1}\u{2}garbage".to_owned()),
        plain("500 Internal Server Error", ""),
        plain(&format!("302 Found\r\nlocation: {}", elsewhere.url), ""),
        plain("200 OK", "<html>Sign in</html>"),
        plain("200 OK", "{\"keys\":[]}"),
        plain("200 OK", &oct),
        plain("200 OK", &" ".repeat(600 * 1024)),
    ];
    join_all(bad.into_iter().map(async |answer| {
        let issuer = Issuer::start(answer).await;
        let service = start(&issuer.url, &[]).await;
        let failed = "jwks_fetches_total{result=\"failed\"}";
        eventually("a fetch has failed", RETRIED, async || service.metric(failed).await >= 1.0).await;
        assert_eq!(unready(&service).await, ["token-keys"]);
        issuer.publishes(&[&signer]);
        eventually("it is ready", RETRIED, async || unready(&service).await.is_empty()).await;
        assert_eq!(refused(&service, &signer.token("ann")).await, None);
    }))
    .await;
    assert_eq!(elsewhere.requests(), 0, "a redirect is not followed");
}

#[tokio::test]
async fn a_flood_of_made_up_key_ids_hardly_reaches_the_issuer() {
    let signer = Signer::new("k");
    let issuer = Issuer::start(Answer::keys(&[&signer])).await;
    let settings =
        [("REJECT_WITH", "http"), ("MAX_CONNECTIONS_PER_USER", "1000"), ("MAX_CONNECTIONS_PER_ADDRESS", "0")];
    let service = ready(&issuer.url, &settings).await;
    let (before, began) = (issuer.requests(), Instant::now());
    let stranger = Signer::new("x");
    let odd = ["../../etc/passwd", "' OR 1=1 --", "%00", "http://127.0.0.1/", "k\n", ""];
    let kids = (0..300).map(|i| format!("made-up-{i}")).chain(odd.map(str::to_owned));
    let kids: Vec<_> = kids.chain(["x".repeat(5_000)]).collect();
    for some in kids.chunks(50) {
        join_all(some.iter().map(async |kid| {
            let token = stranger.named(kid).token("eve");
            let answer = Raw::open(service.public(), &query(&token), &[]).await.err().expect("refused");
            check_answer(&answer, 401, "AUTHENTICATION_ERROR");
            assert_eq!(answer.json()["error_detail"]["message"], "Unknown key");
        }))
        .await;
        assert_eq!(refused(&service, &signer.token("ann")).await, None);
    }
    let most = 2 + usize::try_from(began.elapsed().as_secs() / 10).expect("short");
    let fetches = issuer.requests() - before;
    assert!((1..=most).contains(&fetches), "{fetches} fetches for {} tokens", kids.len());
}

#[tokio::test]
async fn each_issuer_signs_for_its_own_tokens_only() {
    let (a, b) = (Signer::new("k"), Signer::new("k"));
    let (first, second) =
        (Issuer::start(Answer::keys(&[&a])).await, Issuer::start(Answer::keys(&[&b])).await);
    let urls = format!("https://a.example={},https://b.example={}", first.url, second.url);
    let service = ready(&urls, &[("MAX_CONNECTIONS_PER_USER", "100")]).await;
    let by = |signer: &Signer, iss: Value| {
        signer.sign(&json!({ "sub": "ann", "exp": 4_000_000_000_u64, "iss": iss }))
    };
    for (signer, iss) in [(&a, "https://a.example"), (&b, "https://b.example")] {
        let taken = async || refused(&service, &by(signer, json!(iss))).await.is_none();
        eventually("both sets are there", RETRIED, taken).await;
    }
    for (signer, iss) in [(&b, "https://a.example"), (&a, "https://b.example")] {
        assert_eq!(refused(&service, &by(signer, json!(iss))).await, said(1008, "Wrong signature"));
    }
    for iss in [json!(null), json!(""), json!("https://c.example"), json!(["https://a.example"]), json!(5)] {
        assert_eq!(refused(&service, &by(&a, iss.clone())).await, said(1008, "Wrong issuer"), "{iss}");
    }

    // One that is away does not matter to the other's clients.
    first.answers(Answer::Gone);
    let unknown = by(&a.named("new"), json!("https://a.example"));
    eventually("what cannot be known is told", RETRIED, async || {
        refused(&service, &unknown).await == said(1013, "No keys at hand")
    })
    .await;
    assert_eq!(refused(&service, &by(&b, json!("https://b.example"))).await, None);
}

#[tokio::test]
async fn keys_come_over_tls_by_authorities_that_are_trusted() {
    let signer = Signer::new("k");
    let folder = tempfile::tempdir().expect("a folder");
    let (trusted, other) = (folder.path().join("ca.pem"), folder.path().join("other.pem"));
    let issuer = Issuer::start_tls(Answer::keys(&[&signer]), &trusted).await;
    let _other = Issuer::start_tls(Answer::Gone, &other).await;
    let settings =
        |ca: &'static str| [("JWT_ALGORITHM", "ES256"), ("ENVIRONMENT", "staging"), ("SSL_CERT_FILE", ca)];
    let settings = |ca: &std::path::Path| {
        let ca: &'static str = Box::leak(ca.to_str().expect("UTF-8").to_owned().into_boxed_str());
        settings(ca)
    };
    let url = [("JWT_JWKS_URL", issuer.url.as_str())];

    let process = Daemon::start(&[&settings(&trusted)[..], &url].concat()).await;
    eventually("the keys are there", RETRIED, async || process.unready().await.is_empty()).await;
    let url_of = |process: &Daemon| format!("ws://{}/ws?token={}", process.public, signer.token("ann"));
    assert!(Client::connect(&url_of(&process)).await.is_ok());

    let mut wary = Daemon::start(&[&settings(&other)[..], &url].concat()).await;
    let line = wary.program.says("token keys cannot be fetched", LOCAL).await;
    assert!(line.contains("certificate") && !line.contains("kind=sig"), "{line}");
    assert_eq!(wary.unready().await, ["token-keys"]);
    assert!(http::metric(wary.admin, "jwks_fetches_total{result=\"failed\"}").await >= 1.0);

    let all = [&settings(&trusted)[..], &url].concat();
    let checked = async |token: String| {
        let mut command = command(&all, &["token", "check", &token]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        String::from_utf8(output.expect("it runs").stdout).expect("text")
    };
    let verdict = checked(signer.token("ann")).await;
    assert!(verdict.contains("user:      ann") && verdict.contains("\nvalid"), "{verdict}");
    let verdict = checked(Signer::new("k").token("ann")).await;
    assert!(verdict.contains("not valid: Wrong signature"), "{verdict}");
}
