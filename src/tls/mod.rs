//! Certificates: one's own, renewed while they are in use, and whom the system trusts.

mod files;
mod shown;
mod system;

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

pub use files::{EVERY, Files, IdentityError, watch};
pub use shown::Shown;
pub use system::system_roots;

/// A certificate chain, leaf first, with the leaf's key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl Identity {
    /// As handshakes show it.
    ///
    /// # Errors
    /// When the key is of no known kind, or not the certificate's.
    pub fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &aws_lc_rs::default_provider())
    }
}
