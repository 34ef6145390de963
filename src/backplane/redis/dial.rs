//! The stream below a connection to Redis: TCP, TLS over it, or a Unix socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::ConnectionAddr;
use ::redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::errors::ConnectError;
use super::tls;
use crate::config::RedisTlsConfig;

/// Idle time before the kernel probes the peer. The PINGs find a dead link sooner; this closes sockets whose owner
/// waits on nothing.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Between two probes of the kernel.
const KEEPALIVE_PROBE: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before the kernel gives the connection up (`TCP_USER_TIMEOUT`).
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Any of the three.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// Connects. A name is looked up each time, and each of its addresses is tried.
///
/// # Errors
/// What the network, or TLS, has to say; it quotes nothing of the URL but host names.
pub(super) async fn dial(
    address: &ConnectionAddr,
    trust: &RedisTlsConfig,
) -> Result<Box<dyn Io>, ConnectError> {
    match address {
        ConnectionAddr::Tcp(host, port) => Ok(Box::new(tcp(host, *port).await?)),
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            Err(io::Error::other("a certificate that is not checked (#insecure) is not supported").into())
        }
        ConnectionAddr::TcpTls { host, port, .. } => {
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let connector = TlsConnector::from(Arc::new(tls::client(trust)?));
            Ok(Box::new(connector.connect(name, tcp(host, *port).await?).await?))
        }
        ConnectionAddr::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        _ => Err(io::Error::other("this kind of address is not supported").into()),
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_PROBE))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(stream)
}
