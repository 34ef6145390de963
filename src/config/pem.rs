//! Certificates and keys in PEM, looked at when settings are read.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Secret;
use super::fault::Problem;
use super::setting::Setting;
use super::values::Values;

/// A certificate to show, and its key.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    /// The chain in PEM, leaf first.
    pub certificate: Secret,
    /// The leaf's key in PEM.
    pub key: Secret,
}

impl TlsIdentity {
    /// Both, or nothing; [`needs_both`] tells of one alone.
    pub(super) fn read(
        values: &mut Values,
        certificate: &'static Setting,
        key: &'static Setting,
    ) -> Option<Self> {
        let certificate = values.secret(certificate, certificates);
        let key = values.secret(key, private_key);
        let (certificate, key) = certificate.zip(key)?;
        Some(Self { certificate: certificate.with_line_breaks(), key: key.with_line_breaks() })
    }
}

/// A certificate without its key is a fault, and a key without its certificate.
pub(super) fn needs_both(values: &mut Values, certificate: &Setting, key: &Setting) {
    values.needs(certificate, key, "give the certificate's key too, or neither");
    values.needs(key, certificate, "give the key's certificate too, or neither");
}

pub(super) fn certificates(pem: &str) -> Result<(), Problem> {
    let pem = pem.replace("\\n", "\n");
    let mut found = CertificateDer::pem_slice_iter(pem.as_bytes()).peekable();
    if found.peek().is_some() && found.all(|certificate| certificate.is_ok()) {
        return Ok(());
    }
    let remedy = "give it whole, from -----BEGIN CERTIFICATE----- on, line breaks included";
    Err(Problem::new("holds no certificate in PEM", remedy))
}

fn private_key(pem: &str) -> Result<(), Problem> {
    let pem = pem.replace("\\n", "\n");
    let remedy = "give it whole and not encrypted, from -----BEGIN PRIVATE KEY----- on, line breaks included";
    let found = PrivateKeyDer::from_pem_slice(pem.as_bytes());
    found.map(drop).map_err(|_| Problem::new("holds no private key in PEM", remedy))
}
