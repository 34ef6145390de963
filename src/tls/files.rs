//! A certificate from mounted files, which somebody else renews: cert-manager, or an operator.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::Identity;
use crate::config::{Secret, SecretError};

/// Between two looks at the files. They are compared by their contents, as other mounted files are, and change by the
/// month; the kubelet alone takes up to a minute to bring a change.
pub const EVERY: Duration = Duration::from_secs(5);

/// Why there is no identity. Safe to log.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] SecretError),
    /// It is something else.
    #[error("{place} holds no {what} in PEM")]
    Form {
        /// The file.
        place: String,
        /// What should be in it.
        what: &'static str,
    },
    /// The two do not belong together, or the key is of no known kind.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub struct Files {
    /// PEM of the chain, leaf first.
    pub certificate: Secret,
    /// PEM of the leaf's key.
    pub key: Secret,
}

/// Both as they were read.
type Texts = [SecretString; 2];

impl Files {
    /// What they hold now. Blocks on the file system.
    ///
    /// # Errors
    /// [`IdentityError`] when that is no certificate with its key.
    pub fn load(&self) -> Result<Identity, IdentityError> {
        self.identity(&self.read()?)
    }

    fn read(&self) -> Result<Texts, SecretError> {
        Ok([self.certificate.read()?, self.key.read()?])
    }

    fn identity(&self, [certificate, key]: &Texts) -> Result<Identity, IdentityError> {
        let pem = |text: &SecretString| text.expose_secret().as_bytes().to_vec();
        let form = |secret: &Secret, what| IdentityError::Form { place: place(secret), what };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem(certificate)).collect();
        let chain = chain.unwrap_or_default();
        if chain.is_empty() {
            return Err(form(&self.certificate, "certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&pem(key)).map_err(|_| form(&self.key, "private key"))?;
        let identity = Identity { chain, key: Arc::new(key) };
        // A pair that is half old and half new is seen here, and not in a handshake.
        identity.certified()?;
        Ok(identity)
    }
}

fn place(secret: &Secret) -> String {
    secret.file().map_or_else(|| "what was given".to_owned(), |path| path.display().to_string())
}

/// Looks at the files `every` so often, for ever, and gives `show` what is in them when it changed and is good. What is
/// not good leaves the old one in force.
pub async fn watch(files: Files, every: Duration, mut show: impl FnMut(Identity)) {
    let files = Arc::new(files);
    let mut seen: Option<Result<Texts, String>> = None;
    let mut shown = false;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let reader = Arc::clone(&files);
        let Ok(read) = tokio::task::spawn_blocking(move || reader.read()).await else { continue };
        let now = read.map_err(|error| error.to_string());
        if seen.as_ref().is_some_and(|seen| same(seen, &now)) {
            continue;
        }
        let found = match &now {
            Ok(texts) => files.identity(texts).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        seen = Some(now);
        match found {
            Ok(new) => {
                info!(certificate = place(&files.certificate), "the certificate to show was read");
                show(new);
                shown = true;
            }
            Err(error) if shown => {
                warn!(
                    error,
                    "the certificate to show changed and cannot be used; the old one stays in force"
                );
            }
            Err(error) => warn!(error, "there is no certificate to show"),
        }
    }
}

/// Not in constant time: both sides are the operator's own files.
fn same(one: &Result<Texts, String>, other: &Result<Texts, String>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            one.iter().zip(other).all(|(one, other)| one.expose_secret() == other.expose_secret())
        }
        (Err(one), Err(other)) => one == other,
        _ => false,
    }
}
