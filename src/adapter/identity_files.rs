//! The certificate from mounted files, which somebody else renews: cert-manager, or an operator.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::tls::{Identity, server_config};

/// Between two looks at the files. They are compared by their contents, as other mounted files are, and change by the
/// month; the kubelet alone takes up to a minute to bring a change.
pub const EVERY: Duration = Duration::from_secs(5);

/// Why the files hold no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// The two do not belong together, or the key is of no known kind.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// The two files.
#[derive(Debug, Clone)]
pub struct Files {
    /// PEM of the chain, leaf first.
    pub certificate: PathBuf,
    /// PEM of the leaf's key.
    pub key: PathBuf,
}

impl Files {
    /// Both as they are now. Blocks on the file system.
    fn read(&self) -> Result<[Vec<u8>; 2], IdentityError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| IdentityError::Read { path: path.clone(), source })
        };
        Ok([read(&self.certificate)?, read(&self.key)?])
    }

    fn identity(&self, [certificate, key]: &[Vec<u8>; 2]) -> Result<Identity, IdentityError> {
        let form = |path: &PathBuf, what| IdentityError::Form { path: path.clone(), what };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.unwrap_or_default();
        if chain.is_empty() {
            return Err(form(&self.certificate, "certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| form(&self.key, "private key"))?;
        let identity = Identity { chain, key: Arc::new(key) };
        // A pair that is half old and half new is seen here, and not in a handshake.
        server_config(&identity, None)?;
        Ok(identity)
    }
}

/// Looks at the files `every` so often, for ever, and sends what is in them when it changed and is good. What is not
/// good leaves the old one in force.
pub async fn watch_files(files: Files, every: Duration, identity: watch::Sender<Option<Identity>>) {
    let files = Arc::new(files);
    let mut seen: Result<[Vec<u8>; 2], String> = Err(String::new());
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let reader = Arc::clone(&files);
        let Ok(read) = tokio::task::spawn_blocking(move || reader.read()).await else { continue };
        let now = read.as_ref().map(Clone::clone).map_err(ToString::to_string);
        if now == seen {
            continue;
        }
        seen = now;
        match read.and_then(|raw| files.identity(&raw)) {
            Ok(new) => {
                info!(file = %files.certificate.display(), "the certificate to show was read");
                identity.send_replace(Some(new));
            }
            Err(error) if identity.borrow().is_some() => {
                warn!(%error, "the certificate to show changed and cannot be used; the old one stays in force");
            }
            Err(error) => warn!(%error, "there is no certificate to show"),
        }
    }
}
