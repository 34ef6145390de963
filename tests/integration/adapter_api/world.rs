//! A serving half between a cluster in memory and clients with certificates of their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use websocket_service::adapter::control::ControlMetrics;
use websocket_service::adapter::fleet::{Fleet, Pod};
use websocket_service::adapter::settings::Settings;
use websocket_service::adapter::{Known, Serving};
use websocket_service::tls::Identity;

use crate::support::http::{self, Answer, parse};
use crate::support::kube_api::KubeApi;
use crate::support::{LOCAL, eventually, within};

const RULES: &str = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
pub(super) const NAME: &str = "front-proxy-client";
pub(super) const SERVER_NAME: &str = "ws-adapter.ns.svc";
pub(super) const USER: (&str, &str) = ("x-remote-user", "system:kube-aggregator");
pub(super) const PODS: &str =
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/pods/%2A/websocket_active_connections";

/// An authority, and what it signs.
pub(super) struct Authority {
    pub(super) pem: String,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two authorities with one name could not be told apart.
        let key = KeyPair::generate().expect("a key");
        params.distinguished_name.push(DnType::CommonName, format!("{:x?}", &key.public_key_raw()[..8]));
        let root = params.self_signed(&key).expect("a certificate");
        Self { pem: root.pem(), root: root.into(), issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str, names: &[&str], usage: ExtendedKeyUsagePurpose) -> (String, Identity) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pem = format!("{}\0{}", certificate.pem(), key.serialize_pem());
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        (pem, Identity { chain: vec![certificate.into()], key: Arc::new(key) })
    }

    /// A client's certificate.
    pub(super) fn client(&self, name: &str) -> Identity {
        self.sign(name, &[], ExtendedKeyUsagePurpose::ClientAuth).1
    }

    /// The adapter's certificate.
    pub(super) fn server(&self) -> Identity {
        self.sign("adapter", &[SERVER_NAME], ExtendedKeyUsagePurpose::ServerAuth).1
    }

    /// The adapter's certificate and its key, both as PEM.
    pub(super) fn server_pem(&self) -> (String, String) {
        let (pem, _) = self.sign("adapter", &[SERVER_NAME], ExtendedKeyUsagePurpose::ServerAuth);
        let (certificate, key) = pem.split_once('\0').expect("both");
        (certificate.to_owned(), key.to_owned())
    }
}

/// An adapter whose other half is the test.
pub(super) struct World {
    pub(super) serving: Serving,
    pub(super) cluster: KubeApi,
    pub(super) fleet: watch::Sender<Arc<Fleet>>,
    pub(super) identity: watch::Sender<Option<Identity>>,
    /// Signs the adapter's certificate.
    pub(super) own: Authority,
}

impl World {
    /// Without rules, identity and fleet.
    pub(super) fn empty() -> Self {
        Self::with(&["--tls-secret=tls", "--service=ws-adapter", "--lease=l", "--pod-name=p"])
    }

    /// The same with flags that say where the certificate comes from.
    pub(super) fn with(certificate: &[&str]) -> Self {
        let flags = ["metrics-adapter", "--namespace=ns", "--deployment=ws", "--selector=app=ws"];
        let ports = ["--host=127.0.0.1", "--port=0", "--health-port=0"];
        let flags = flags.iter().chain(&ports).chain(certificate).map(OsString::from);
        let settings = Settings::parse(flags).expect("sound settings");
        let cluster = KubeApi::default();
        let (fleet, fleet_seen) = watch::channel(Arc::default());
        let (identity, identity_seen) = watch::channel(None);
        let known = Known { fleet: fleet_seen, identity: identity_seen, metrics: ControlMetrics::new() };
        let serving = Serving::start(&settings, cluster.client(), known).expect("free ports");
        Self { serving, cluster, fleet, identity, own: Authority::new() }
    }

    /// Ready: rules that believe this authority's `front-proxy-client`, an identity, a fleet of two pods.
    pub(super) async fn ready(authority: &Authority) -> Self {
        let world = Self::empty();
        world.rules(authority);
        world.identity.send_replace(Some(world.own.server()));
        world.fleet.send_replace(Arc::new(fleet()));
        eventually("ready", LOCAL, async || world.unready().await.is_empty()).await;
        world
    }

    /// Publishes rules with this authority.
    pub(super) fn rules(&self, authority: &Authority) {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": {
                "client-ca-file": "another authority's, for users",
                "requestheader-client-ca-file": authority.pem,
                "requestheader-allowed-names": json!([NAME]).to_string(),
                "requestheader-username-headers": json!(["X-Remote-User"]).to_string(),
            },
        });
        self.cluster.put(RULES, object);
    }

    /// Takes the rules away.
    pub(super) fn no_rules(&self) {
        self.cluster.delete(RULES);
    }

    /// A GET on the plain port.
    pub(super) async fn health(&self, path: &str) -> Answer {
        http::request(self.serving.health, "GET", path, &[], b"").await
    }

    /// Why it is unready.
    pub(super) async fn unready(&self) -> Vec<String> {
        let answer = self.health("/readyz").await;
        let reasons: Vec<String> = serde_json::from_value(answer.json()["reasons"].clone()).expect("names");
        assert_eq!(answer.status, if reasons.is_empty() { 200 } else { 503 });
        reasons
    }

    /// Whether the metrics hold this line.
    pub(super) async fn counts(&self, line: &str) -> bool {
        let text = String::from_utf8(self.health("/metrics").await.body).expect("UTF-8");
        text.lines().any(|known| known == line)
    }

    /// Connects, with a certificate or without.
    pub(super) async fn connect(&self, client: Option<&Identity>) -> std::io::Result<Talk> {
        Talk::connect(self.serving.api, &self.own, client).await
    }

    /// One request on a connection of its own; none where the connection is refused.
    pub(super) async fn ask(&self, client: Option<&Identity>, headers: &[(&str, &str)]) -> Option<Answer> {
        self.connect(client).await.ok()?.ask(PODS, headers).await
    }

    /// The status of such a request as the aggregator sends it.
    pub(super) async fn status(&self, client: &Identity) -> Option<u16> {
        self.ask(Some(client), &[USER]).await.map(|answer| answer.status)
    }
}

fn fleet() -> Fleet {
    let pod = |name: &str, connections| Pod {
        name: name.to_owned(),
        labels: BTreeMap::from([("app".to_owned(), "ws".to_owned())]),
        connections,
        at: 1_795_321_628_000,
        leaving: false,
    };
    Fleet { pods: vec![pod("ws-a", 12), pod("ws-b", 0)], total: Some(12), blind: 0 }
}

/// A connection that is kept.
pub(super) struct Talk {
    stream: TlsStream<TcpStream>,
}

impl Talk {
    /// Trusts `server` only, and asks for the Service's name as the aggregator does.
    pub(super) async fn connect(
        address: SocketAddr,
        server: &Authority,
        client: Option<&Identity>,
    ) -> std::io::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(server.root.clone()).expect("an authority");
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match client {
            Some(client) => {
                config.with_client_auth_cert(client.chain.clone(), client.key.clone_key()).expect("a pair")
            }
            None => config.with_no_client_auth(),
        };
        let name = ServerName::try_from(SERVER_NAME).expect("a name");
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        };
        within("a handshake", LOCAL, connect).await.map(|stream| Self { stream })
    }

    /// The certificate that the adapter shows.
    pub(super) fn shown(&self) -> CertificateDer<'static> {
        let chain = self.stream.get_ref().1.peer_certificates().expect("a server has a certificate");
        chain[0].clone()
    }

    /// One request; none when the connection ends instead.
    pub(super) async fn ask(&mut self, path: &str, headers: &[(&str, &str)]) -> Option<Answer> {
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: {SERVER_NAME}\r\naccept: */*\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        within("an answer", LOCAL, async {
            self.stream.write_all(head.as_bytes()).await.ok()?;
            let mut raw = Vec::new();
            loop {
                if let Some(answer) = parse(&raw)
                    && answer.header("content-length").and_then(|text| text.parse().ok())
                        == Some(answer.body.len())
                {
                    return Some(answer);
                }
                // TLS 1.3 tells a client only here that its certificate was refused.
                if self.stream.read_buf(&mut raw).await.ok()? == 0 {
                    return None;
                }
            }
        })
        .await
    }
}

/// A refusal's body, checked for its form.
pub(super) fn refusal(answer: &Answer) -> Value {
    let body = answer.json();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!((&body["kind"], &body["status"]), (&json!("Status"), &json!("Failure")));
    assert_eq!(body["code"], answer.status);
    body
}
