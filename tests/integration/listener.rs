//! What stands before HTTP on the public port: TLS with a certificate that is renewed, and load balancers that say whose a
//! connection is.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::http;
use crate::support::mounted::Mounted;
use crate::support::service::{Service, token};
use crate::support::{LOCAL, eventually, within};

/// Certificate and key for `localhost`, in PEM.
fn made() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).expect("valid");
    (certificate.self_signed(&key).expect("signed").pem(), key.serialize_pem())
}

/// TCP or TLS.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}
type Socket = WebSocketStream<Box<dyn Io>>;

/// How a client, or the balancer before it, comes.
#[derive(Default)]
struct Way<'a> {
    announced: &'a [u8],
    /// The only certificate that is trusted, in PEM.
    trusting: Option<&'a str>,
}

impl Way<'_> {
    async fn reach(&self, address: SocketAddr) -> std::io::Result<Box<dyn Io>> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(self.announced).await?;
        let Some(pem) = self.trusting else { return Ok(Box::new(stream)) };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("a certificate");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    /// An open WebSocket of the user, or the status that refused it; 0 where there was no answer.
    async fn open(&self, service: &Service, user: &str) -> Result<Socket, u16> {
        let upgrade = async {
            let stream = self.reach(service.public()).await.map_err(Error::Io)?;
            client_async(format!("ws://localhost/ws?token={}", token(user)), stream).await
        };
        match within("an upgrade's answer", LOCAL, upgrade).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(_) => Err(0),
        }
    }
}

async fn text(socket: &mut Socket) -> String {
    loop {
        if let Message::Text(text) =
            within("a frame", LOCAL, socket.next()).await.expect("open").expect("open")
        {
            return text.to_string();
        }
    }
}

async fn echoes(socket: &mut Socket, sent: &str) {
    socket.send(Message::text(sent)).await.expect("open");
    assert_eq!(text(socket).await, format!("Echo: {sent}"));
}

#[tokio::test]
async fn messages_of_all_sizes_go_through_tls_and_a_renewed_certificate_is_shown() {
    let (first, key) = made();
    let mounted = Mounted::new(&[("tls.crt", &first), ("tls.key", &key)]);
    let (certificate, key) = (mounted.path("tls.crt"), mounted.path("tls.key"));
    let sizes = [("MAX_MESSAGE_BYTES", "1MiB"), ("OUTBOX_BYTES", "8MiB")];
    let files = [("TLS_CERTIFICATE_FILE", certificate.as_str()), ("TLS_KEY_FILE", &key)];
    let service = Service::start(&[sizes, files].concat()).await;
    let old = Way { trusting: Some(&first), ..Way::default() };
    let mut socket = old.open(&service, "ann").await.expect("upgraded");
    for size in [1, 5_000, 60_000, 900_000] {
        echoes(&mut socket, &"x".repeat(size)).await;
    }
    // The other way many at once, so that writes meet a socket that takes no more.
    let (many, long) = (100, "y".repeat(50_000));
    for _ in 0..many {
        socket.feed(Message::text(long.clone())).await.expect("open");
    }
    let (mut sending, mut receiving) = socket.split();
    let flushed = tokio::spawn(async move {
        sending.flush().await.expect("open");
        sending
    });
    let mut echoed = 0;
    while echoed < many {
        let frame = within("an echo", LOCAL, receiving.next()).await.expect("open").expect("open");
        if let Message::Text(text) = frame {
            assert_eq!(text.len(), "Echo: ".len() + long.len());
            echoed += 1;
        }
    }
    let mut socket = flushed.await.expect("flushed").reunite(receiving).expect("its halves");

    assert_eq!(Way::default().open(&service, "ann").await.err(), Some(0), "plain HTTP is not answered");
    let (second, key) = made();
    mounted.change(&[("tls.crt", &second), ("tls.key", &key)]);
    let new = Way { trusting: Some(&second), ..Way::default() };
    eventually("the new one is shown", LOCAL, async || new.open(&service, "ann").await.is_ok()).await;
    assert_eq!(old.open(&service, "ann").await.err(), Some(0), "the old one is not shown any more");
    echoes(&mut socket, "still here").await;
    socket.close(None).await.expect("closed");
    assert_eq!(http::request(service.admin(), "GET", "/readyz", &[], b"").await.status, 200, "plain as ever");
}

#[tokio::test]
async fn a_balancer_says_whose_a_connection_is() {
    let (certificate, key) = made();
    let one_each = ("MAX_CONNECTIONS_PER_ADDRESS", "1");
    let believed = [("PROXY_PROTOCOL", "true"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let tls = [("TLS_CERTIFICATE", certificate.as_str()), ("TLS_KEY", &key)];
    let (plain, secured) = (
        Service::start(&[&believed[..], &[one_each]].concat()).await,
        Service::start(&[&believed[..], &tls, &[one_each]].concat()).await,
    );
    for (service, trusting) in [(&plain, None), (&secured, Some(certificate.as_str()))] {
        let of = |announced| Way { announced, trusting };
        let ann = of(b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n");
        let mut socket = ann.open(service, "ann").await.expect("upgraded");
        echoes(&mut socket, "hello").await;
        let shown = service.admin_json("/v1/users/ann/connections").await;
        assert_eq!(shown["connections"][0]["address"], "198.51.100.7", "{shown}");
        assert_eq!(ann.open(service, "ann").await.err(), Some(429), "its address has its share");
        let bob = of(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n");
        assert!(bob.open(service, "bob").await.is_ok());
        let silent = of(b"");
        assert_eq!(silent.open(service, "carl").await.err(), Some(0), "who announces nothing is not let in");
    }
    let mut stream = TcpStream::connect(plain.public()).await.expect("connected");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    // Closed, or reset for what was not read.
    let _ = within("the end", LOCAL, stream.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let elsewhere = [("PROXY_PROTOCOL", "true"), ("TRUSTED_PROXIES", "192.0.2.0/24")];
    let service = Service::start(&elsewhere).await;
    let announced = Way { announced: b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n", trusting: None };
    assert_eq!(announced.open(&service, "ann").await.err(), Some(400), "that is no HTTP");
    assert!(Way::default().open(&service, "ann").await.is_ok(), "and without it a connection is its own");
}
