//! What a connection goes through before it speaks HTTP: whose it is, and TLS.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::proxy_protocol;
use super::stream::Stream;
use crate::config::Networks;

/// How a listener takes connections in; by default as they are.
#[derive(Clone, Default)]
pub struct Door {
    /// Whose connections begin with a header of the PROXY protocol. The others' do not, and one there is no HTTP.
    pub announced_by: Option<Arc<Networks>>,
    /// Without it the listener speaks plain HTTP.
    pub tls: Option<TlsAcceptor>,
}

impl Door {
    /// Takes a connection in; returns the address that stands for its client.
    ///
    /// # Errors
    /// When it goes away, or does not speak as it should.
    pub(super) async fn pass(&self, mut stream: TcpStream, peer: IpAddr) -> io::Result<(Stream, IpAddr)> {
        let announces = self.announced_by.as_ref().is_some_and(|proxies| proxies.contain(peer));
        let announced = if announces { proxy_protocol::announced(&mut stream).await? } else { None };
        let stream = match &self.tls {
            Some(tls) => Stream::Tls(Box::new(tls.accept(stream).await?)),
            None => Stream::Plain(stream),
        };
        Ok((stream, announced.unwrap_or(peer)))
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}
