//! Redis behind TLS with a certificate of a private authority.
//!
//! Which authorities the system trusts is a matter of the process (`SSL_CERT_FILE`), so the client's half of tests of that
//! runs in a process of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use websocket_service::backplane::{Backplane, Status};
use websocket_service::config::HistoryConfig;

use crate::support::backplane::{Pod, publication, quick, user};
use crate::support::logs::Logs;
use crate::support::mounted::Mounted;
use crate::support::redis::{Options, RedisServer};
use crate::support::sentinel::Sentinel;
use crate::support::service::config;
use crate::support::{LOCAL, eventually};

/// Where a child process finds the URL: in a file beside the certificates.
const URL: &str = "url";

/// A private authority.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).expect("valid");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = authority.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(authority, key) }
    }

    /// A certificate for a name (and this machine's address, by which sentinels name servers), and its key.
    fn issue(&self, name: &str) -> (String, String) {
        self.issue_for(&[name, "127.0.0.1"])
    }

    /// The same for these names and addresses only.
    pub(crate) fn issue_for(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut certificate = CertificateParams::new(names.clone()).expect("valid");
        // Another name than the authority's: what names itself as its issuer is taken for self-signed.
        certificate.distinguished_name.push(DnType::CommonName, names.concat());
        let certificate = certificate.signed_by(&key, &self.issuer);
        (certificate.expect("a certificate").pem(), key.serialize_pem())
    }
}

fn make_certificates(folder: &Path) {
    let authority = Authority::new();
    let (server, key) = authority.issue("localhost");
    for (name, text) in [("ca.pem", authority.pem), ("server.pem", server), ("server.key", key)] {
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

/// A folder with an authority, a server that trusts only it and asks clients for certificates, and a pod's settings.
async fn strict(folder: &Mounted) -> RedisServer {
    let tls = Path::new(&folder.path("")).to_owned();
    let authority = Some(folder.path("ca.pem").into());
    RedisServer::start_with(Options { tls: Some(tls), clients_of: authority, ..Options::default() }).await
}

/// A pod on TLS whose authorities and certificate are files.
fn pod(url: &str, folder: &Mounted, shown: bool, more: &[(&str, &str)]) -> Pod {
    let files = ["ca.pem", "client.pem", "client.key"].map(|name| folder.path(name));
    let mut settings = vec![("REDIS_URL", url), ("REDIS_TLS_CA_FILE", &files[0])];
    if shown {
        settings.extend([("REDIS_TLS_CERTIFICATE_FILE", &*files[1]), ("REDIS_TLS_KEY_FILE", &*files[2])]);
    }
    settings.extend_from_slice(more);
    Pod::start_configured(&config(&settings).backplane, quick(), HistoryConfig::default())
}

/// The files of a server and of a pod, each with its certificate and key.
pub(crate) fn texts(
    authority: &Authority,
    server: (String, String),
    client: (String, String),
) -> Vec<(&'static str, String)> {
    vec![
        ("ca.pem", authority.pem.clone()),
        ("server.pem", server.0),
        ("server.key", server.1),
        ("client.pem", client.0),
        ("client.key", client.1),
    ]
}

pub(crate) fn mounted<'a>(texts: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    texts.iter().map(|(name, text)| (*name, text.as_str())).collect()
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_rotated_without_a_restart() {
    let (authority, other) = (Authority::new(), Authority::new());
    // At first the pod has a certificate of somebody else's.
    let folder = Mounted::new(&mounted(&texts(&authority, authority.issue("localhost"), other.issue("pod"))));
    let server = strict(&folder).await;
    let logs = Logs::capture();
    let pod = pod(&server.tls_url(), &folder, true, &[]);
    eventually("it is refused", LOCAL, async || logs.count("no link to Redis") >= 1).await;
    assert_eq!(pod.backplane.status(), Status::Connecting);

    folder.change(&mounted(&texts(&authority, authority.issue("localhost"), authority.issue("pod"))));
    pod.until_status(Status::Up).await;
    let _ann = pod.subscribe("ann").await;
    let published = pod.backplane.publish(user("ann"), publication("through TLS")).await;
    assert_eq!(published.map(|published| published.subscribers), Ok(1));
    assert_eq!(logs.count("PRIVATE KEY"), 0);
}

#[tokio::test]
async fn nobody_without_a_certificate_is_let_in() {
    let authority = Authority::new();
    let folder =
        Mounted::new(&mounted(&texts(&authority, authority.issue("localhost"), authority.issue("pod"))));
    let server = strict(&folder).await;
    let logs = Logs::capture();
    let pod = pod(&server.tls_url(), &folder, false, &[]);
    eventually("the reason is logged", LOCAL, async || logs.count("CertificateRequired") >= 1).await;
    assert_eq!(pod.backplane.status(), Status::Connecting);
}

#[tokio::test]
async fn sentinels_are_spoken_to_by_tls_as_well() {
    let authority = Authority::new();
    let folder =
        Mounted::new(&mounted(&texts(&authority, authority.issue("localhost"), authority.issue("pod"))));
    let server = strict(&folder).await;
    let sentinel = Sentinel::start_tls(&server, &folder.path("")).await;
    let list = sentinel.address().replace("127.0.0.1", "localhost");
    let pod = pod("rediss://nobody.invalid", &folder, true, &[("REDIS_SENTINELS", &list)]);
    pod.until_status(Status::Up).await;
}
