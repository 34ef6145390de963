//! What is trusted and shown in the handshake with Redis, read anew for each connection.

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;

use crate::config::{RedisTlsConfig, Secret, SecretError};
use crate::tls::system_roots;

/// Why there can be no TLS. Safe to log: the texts hold nothing of a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A mounted file cannot be read.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// What a setting holds by now is no PEM of its kind.
    #[error("{setting} cannot be used: {reason}")]
    Material {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// No authority is configured, and the system's cannot be used.
    #[error("no certificate authority is trusted: {0}; give REDIS_TLS_CA")]
    System(String),
}

/// The settings as they are now.
pub(super) fn client(config: &RedisTlsConfig) -> Result<ClientConfig, TlsError> {
    let roots = match &config.authorities {
        Some(authorities) => trusting(authorities)?,
        None => system_roots().map_err(|error| TlsError::System(error.to_string()))?,
    };
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let Some(identity) = &config.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates("REDIS_TLS_CERTIFICATE", &identity.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.read()?.expose_secret().as_bytes())
        .map_err(|error| material("REDIS_TLS_KEY", &error))?;
    // While both are being exchanged one may be of the other's past: the next attempt has both.
    builder.with_client_auth_cert(chain, key).map_err(|error| material("REDIS_TLS_KEY", &error))
}

fn trusting(authorities: &Secret) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("REDIS_TLS_CA", authorities)? {
        roots.add(authority).map_err(|error| material("REDIS_TLS_CA", &error))?;
    }
    Ok(roots)
}

fn certificates(setting: &'static str, secret: &Secret) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = secret.read()?;
    let found: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_slice_iter(text.expose_secret().as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(material(setting, &"it holds no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(material(setting, &error)),
    }
}

fn material(setting: &'static str, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Material { setting, reason: reason.to_string() }
}
