//! An issuer of tokens that publishes its keys, and fails as a test says.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::service::token;

/// A key that signs tokens by ES256.
#[derive(Clone)]
pub(crate) struct Signer {
    kid: String,
    key: EncodingKey,
}

impl Signer {
    pub(crate) fn new(kid: &str) -> Self {
        // The minter installs what signs.
        let _ = token("anybody");
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key pair");
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
        Self { kid: kid.to_owned(), key }
    }

    /// The same key under another name.
    pub(crate) fn named(&self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), key: self.key.clone() }
    }

    /// The entry of the key set.
    pub(crate) fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).expect("a JWK");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.key).expect("a token")
    }

    /// A good token for a user.
    pub(crate) fn token(&self, user: &str) -> String {
        self.sign(&json!({ "sub": user, "exp": 4_000_000_000_u64 }))
    }
}

/// What the next requests are answered.
#[derive(Clone)]
pub(crate) enum Answer {
    /// The key set with these entries.
    Keys(Vec<Value>),
    /// These bytes.
    Raw(String),
    /// A body that never ends.
    Endless,
    /// Nothing, for ever.
    Silence,
    /// The connection is closed.
    Gone,
}

/// The issuer, until it is dropped.
pub(crate) struct Issuer {
    /// Where its keys are.
    pub(crate) url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    answer: Mutex<Answer>,
    requests: AtomicUsize,
}

impl Issuer {
    pub(crate) async fn start(answer: Answer) -> Self {
        Self::listen(answer, "http://127.0.0.1", None).await
    }

    /// Behind TLS, as `localhost`, with a certificate that nobody else has signed: it is left in `file`.
    pub(crate) async fn start_tls(answer: Answer, file: &Path) -> Self {
        let key = KeyPair::generate().expect("a key pair");
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).expect("valid");
        let certificate = certificate.self_signed(&key).expect("a certificate");
        std::fs::write(file, certificate.pem()).expect("written");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key.into())
                .expect("a certificate and its key");
        Self::listen(answer, "https://localhost", Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(answer: Answer, origin: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State { answer: Mutex::new(answer), requests: AtomicUsize::new(0) });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &state).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &state).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { url: format!("{origin}:{port}/keys.json?kind=sig"), state, task }
    }

    /// Publishes the keys of these signers from now on.
    pub(crate) fn publishes(&self, signers: &[&Signer]) {
        self.answers(Answer::keys(signers));
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.state.answer.lock() = answer;
    }

    /// How often it was asked.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }
}

impl Answer {
    pub(crate) fn keys(signers: &[&Signer]) -> Self {
        Self::Keys(signers.iter().map(|signer| signer.jwk()).collect())
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    assert!(head.starts_with(b"GET /keys.json?kind=sig HTTP/1.1\r\n"));
    state.requests.fetch_add(1, Ordering::Relaxed);
    let answer = state.answer.lock().clone();
    let text = match answer {
        Answer::Keys(keys) => {
            let body = json!({ "keys": keys }).to_string();
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        }
        Answer::Raw(text) => text,
        Answer::Gone => return None,
        Answer::Silence => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            return None;
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"keys\":[").await.ok()?;
            loop {
                stream.write_all(&[b' '; 4096]).await.ok()?;
            }
        }
    };
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}
