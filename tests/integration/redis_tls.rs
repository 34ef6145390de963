//! Redis behind TLS with a certificate of a private authority.
//!
//! Which authorities are trusted is a matter of the process (`SSL_CERT_FILE`), so the client's half of each test runs
//! in a process of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use websocket_service::backplane::{Backplane, Status};

use crate::support::backplane::{Pod, publication, user};
use crate::support::logs::Logs;
use crate::support::redis::{Options, RedisServer};
use crate::support::{LOCAL, eventually};

/// Where a child process finds the URL: in a file beside the certificates.
const URL: &str = "url";

fn make_certificates(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).expect("valid");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let root = authority.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(authority, key);
    let server_key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("valid");
    let server = server.signed_by(&server_key, &issuer).expect("a certificate");
    for (name, text) in
        [("ca.pem", root.pem()), ("server.pem", server.pem()), ("server.key", server_key.serialize_pem())]
    {
        fs::write(folder.join(name), text).expect("written");
    }
}

/// Runs one of the ignored tests below with `trusted` as the only authorities.
fn run_child(test: &str, trusted: &Path) {
    let program = std::env::current_exe().expect("a path");
    let mut child = Command::new(program);
    child.args(["--ignored", "--exact", &format!("redis_tls::{test}")]).env("SSL_CERT_FILE", trusted);
    let output = child.env_remove("SSL_CERT_DIR").output().expect("the test binary runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn a_private_authority_is_trusted_through_ssl_cert_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    make_certificates(folder.path());
    let server =
        RedisServer::start_with(Options { tls: Some(folder.path().into()), ..Options::default() }).await;
    fs::write(folder.path().join(URL), server.tls_url()).expect("written");
    run_child("child_talks", &folder.path().join("ca.pem"));
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    make_certificates(folder.path());
    let server =
        RedisServer::start_with(Options { tls: Some(folder.path().into()), ..Options::default() }).await;
    let other = tempfile::tempdir().expect("a temporary folder");
    make_certificates(other.path());
    fs::write(other.path().join(URL), server.tls_url()).expect("written");
    run_child("child_is_refused", &other.path().join("ca.pem"));
}

#[expect(clippy::disallowed_methods, reason = "no setting: what TLS itself reads")]
fn url() -> String {
    let trusted = std::env::var_os("SSL_CERT_FILE").expect("run by its parent");
    fs::read_to_string(Path::new(&trusted).with_file_name(URL)).expect("written by the parent")
}

#[tokio::test]
#[ignore = "run by a_private_authority_is_trusted_through_ssl_cert_file"]
async fn child_talks() {
    let pod = Pod::start(&url());
    let _ann = pod.subscribe("ann").await;
    let published = pod.backplane.publish(user("ann"), publication("through TLS")).await;
    assert_eq!(published.map(|published| published.subscribers), Ok(1));
    let seen = pod.until("the message", |seen| !seen.messages.is_empty()).await;
    assert_eq!(seen.messages, [("ann".to_owned(), b"through TLS".to_vec())]);
}

#[tokio::test]
#[ignore = "run by an_unknown_authority_is_refused"]
async fn child_is_refused() {
    let logs = Logs::capture();
    let pod = Pod::start(&url());
    eventually("the reason is logged", LOCAL, async || logs.count("invalid peer certificate") >= 1).await;
    assert_eq!(pod.backplane.status(), Status::Connecting);
}
