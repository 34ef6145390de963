use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};

use super::Identity;

/// The certificate that the next handshake shows. Connections that are open, and tickets to resume, outlive its change.
pub struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    /// Shows this one first.
    ///
    /// # Errors
    /// As for [`Identity::certified`].
    pub fn new(identity: &Identity) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(identity.certified()?))))
    }

    /// Shows this one from now on.
    pub fn show(&self, identity: &Identity) {
        // It was looked at when it was read.
        if let Ok(certified) = identity.certified() {
            self.0.store(Arc::new(certified));
        }
    }

    /// What connections are accepted with: TLS 1.2 or 1.3, HTTP/1.1, no certificate of the client's.
    ///
    /// # Errors
    /// When the provider has nothing for these versions.
    pub fn server_config(self: Arc<Self>) -> Result<ServerConfig, Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self);
        // A WebSocket begins with HTTP/1.1: a browser that were offered more would have to open a second connection.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}
