//! Keys that change in their files while the service runs.

use std::time::Duration;

use secrecy::SecretString;
use websocket_service::auth::{Grant, Minter};
use websocket_service::config::TokenAlgorithm;
use websocket_service::protocol::UserId;

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::mounted::Mounted;
use crate::support::service::config;
use crate::support::{Bound, eventually, http};

/// The service looks at its files every five seconds.
const REREAD: Bound = Bound {
    limit: Duration::from_secs(30),
    reason: "files are looked at every 5 s; the rest is for a machine busy with other tests",
};

const OLD: &str = "the-old-key-of-the-tests-0123456789abcdef";
const NEW: &str = "the-new-key-of-the-tests-fedcba9876543210";

/// A token signed with this key, perhaps with a key id.
fn signed(key: &str, kid: Option<&str>) -> String {
    let minter = Minter::new(TokenAlgorithm::Hs256, &SecretString::from(key)).expect("a key");
    let user = UserId::new("ann").expect("a valid user id");
    let mut grant = Grant::new(&config(&[]).auth, user, Duration::from_secs(3600));
    grant.key_id = kid.map(str::to_owned);
    minter.mint(&grant).expect("a token").expose().to_owned()
}

/// Whether the service takes a token; refusals are told by status here.
async fn takes(process: &Daemon, token: &str) -> bool {
    match Client::connect(&format!("ws://{}/ws?token={token}", process.public)).await {
        Ok(_) => true,
        Err(answer) => {
            assert_eq!((answer.status, answer.error_code().as_str()), (401, "AUTHENTICATION_ERROR"));
            false
        }
    }
}

/// With room for all the attempts that wait for a change.
async fn start(settings: &[(&str, &str)]) -> Daemon {
    let all = [&[("REJECT_WITH", "http"), ("MAX_CONNECTIONS_PER_USER", "100000")], settings].concat();
    Daemon::start(&all).await
}

#[tokio::test]
async fn the_shared_key_is_reread() {
    let secret = Mounted::new(&[("key", OLD)]);
    let mut process = start(&[("JWT_SECRET_KEY_FILE", &secret.path("key"))]).await;
    let (old, new) = (signed(OLD, None), signed(NEW, None));
    assert!(takes(&process, &old).await && !takes(&process, &new).await);
    let url = format!("ws://{}/ws?token={old}", process.public);
    let mut connected = Client::connect(&url).await.expect("taken");

    secret.change(&[("key", NEW)]);
    eventually("the new key is in force", REREAD, async || takes(&process, &new).await).await;
    assert!(!takes(&process, &old).await, "the old one no longer");
    connected.send("still".into()).await;
    assert_eq!(connected.text().await, "Echo: still", "who is connected stays");

    // A broken Secret changes nothing, and the log says so.
    secret.change(&[("key", "")]);
    let line = process.program.says("the old one stays in force", REREAD).await;
    assert!(!line.contains(NEW), "{line}");
    assert!(takes(&process, &new).await);
}

#[tokio::test]
async fn a_key_with_a_name_is_added_and_taken_away() {
    let keys = Mounted::new(&[("2025.key", OLD)]);
    let process = start(&[
        ("JWT_KEYS_DIR", &keys.path("")),
        ("JWT_SECRET_KEY", "yet-another-key-of-the-tests-00112233445566"),
    ])
    .await;
    let (old, new) = (signed(OLD, Some("2025")), signed(NEW, Some("2026")));
    assert!(takes(&process, &old).await && !takes(&process, &new).await);
    keys.change(&[("2025.key", OLD), ("2026.key", NEW)]);
    eventually("the new kid is known", REREAD, async || takes(&process, &new).await).await;
    assert!(takes(&process, &old).await, "both are");
    keys.remove("2025.key");
    eventually("the old kid is gone", REREAD, async || !takes(&process, &old).await).await;
    assert!(takes(&process, &new).await);
}

#[tokio::test]
async fn the_api_key_is_reread() {
    let secret = Mounted::new(&[("api-key", "the-old-api-key-1234")]);
    let process = start(&[("API_KEY_FILE", &secret.path("api-key"))]).await;
    let publish = async |key: &str| {
        let headers = [("authorization", &*format!("Bearer {key}"))];
        http::request(process.public, "POST", "/v1/users/ann/messages", &headers, b"{}").await.status
    };
    assert_eq!((publish("the-old-api-key-1234").await, publish("the-new-api-key-5678").await), (202, 401));
    secret.change(&[("api-key", "the-new-api-key-5678")]);
    eventually("the new key is in force", REREAD, async || publish("the-new-api-key-5678").await == 202)
        .await;
    assert_eq!(publish("the-old-api-key-1234").await, 401);
}
