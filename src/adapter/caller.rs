//! Who calls, and whether that is believed: the security boundary of the adapter.
//!
//! The aggregator has authenticated and authorised a request before it passes it on, with the user's name in a header.
//! Such a header says something only on a connection whose client has proven, by its certificate, to be the aggregator.
//! Tokens are never looked at: the aggregator takes them out, so one that arrives comes from somebody else.

use axum::http::HeaderMap;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::front_proxy::Rules;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// The rules have not been read yet, or there are none.
    NoRules,
    /// The connection has no client certificate.
    NoCertificate,
    /// No authority that is in force now has signed it, or it has expired.
    UntrustedCertificate,
    /// Its common name is not among the allowed ones.
    WrongName,
    /// No header names the user.
    NoUser,
    /// The TLS handshake failed or took too long: a certificate of another authority, or no TLS at all.
    Handshake,
    /// There is no certificate to show yet, so the connection was closed.
    NoIdentity,
}

impl Distrust {
    /// All of them, as the label of the counter.
    pub const ALL: [Self; 7] = [
        Self::NoRules,
        Self::NoCertificate,
        Self::UntrustedCertificate,
        Self::WrongName,
        Self::NoUser,
        Self::Handshake,
        Self::NoIdentity,
    ];

    /// Its label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoRules => "no_rules",
            Self::NoCertificate => "no_certificate",
            Self::UntrustedCertificate => "untrusted_certificate",
            Self::WrongName => "wrong_name",
            Self::NoUser => "no_user",
            Self::Handshake => "handshake",
            Self::NoIdentity => "no_identity",
        }
    }

    /// What the caller is told.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::NoRules => "it is not known yet whom to believe",
            Self::NoCertificate => "only the Kubernetes aggregator is answered: no client certificate",
            Self::UntrustedCertificate => "the client certificate is not trusted",
            Self::WrongName => "the client certificate's common name is not allowed",
            Self::NoUser => "the request names no user",
            Self::Handshake | Self::NoIdentity => "there is no connection",
        }
    }
}

/// The user on whose behalf the aggregator asks.
///
/// `chain` is what the client has shown, and proven to own, in the TLS handshake, leaf first. It is verified at each
/// request: an authority that was taken out of force must not live on in a connection that was kept open.
///
/// # Errors
/// [`Distrust`] when any link of the proof is missing.
pub fn believe<'a>(
    rules: Option<&Rules>,
    chain: &[CertificateDer<'_>],
    headers: &'a HeaderMap,
) -> Result<&'a str, Distrust> {
    let rules = rules.ok_or(Distrust::NoRules)?;
    let (leaf, intermediates) = chain.split_first().ok_or(Distrust::NoCertificate)?;
    rules
        .verifier
        .verify_client_cert(leaf, intermediates, UnixTime::now())
        .map_err(|_| Distrust::UntrustedCertificate)?;
    if !rules.names.is_empty() {
        let name = common_name(leaf).ok_or(Distrust::WrongName)?;
        if !rules.names.contains(&name) {
            return Err(Distrust::WrongName);
        }
    }
    let user = rules.user_headers.iter().find_map(|name| headers.get(name)).ok_or(Distrust::NoUser)?;
    user.to_str().ok().filter(|user| !user.is_empty()).ok_or(Distrust::NoUser)
}

/// The subject's common name; none for a certificate with several, of which different readers see a different one.
fn common_name(leaf: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

/// When a certificate expires, in seconds since 1970.
#[must_use]
pub fn expiry(leaf: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
#[path = "caller_tests.rs"]
mod tests;
