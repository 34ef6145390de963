//! The adapter's own certificate: made, written down, and judged.
//!
//! Each certificate has an authority of its own that signs nothing else: its key is dropped once it has signed, so whoever
//! reads the Secret can pose as the adapter, but cannot make certificates for anybody.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{RootCertStore, sign};
use time::OffsetDateTime;

use crate::tls::Identity;

/// How long a certificate and its authority are valid.
pub const VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// It is made anew when so little is left: months, in which a cluster's rights can be put in order.
const RENEW_BEFORE: Duration = Duration::from_secs(VALIDITY.as_secs() / 3);
/// Backdated by this much, for an API server whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// What the Secret keeps, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// The authorities to trust, the one that signed first.
    pub ca: String,
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Stored {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("ca", &self.ca).finish_non_exhaustive()
    }
}

/// Why there is no certificate to use.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What is stored is no PEM.
    #[error("what is stored is no PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Certificate and key do not fit, or the chain is not one that the API server would accept.
    #[error("what is stored cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The names do not form a host.
    #[error("{0} is no host name")]
    Name(String),
    /// A date is out of range.
    #[error("the clock is out of range")]
    Clock,
}

/// How long a stored certificate is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Long enough.
    Good,
    /// It works, and is to be made anew.
    Ageing,
    /// The API server would not accept it.
    Unusable,
}

/// The name that the API server asks for.
#[must_use]
pub fn server_name(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc")
}

impl Stored {
    /// Makes an authority and a certificate that it signs, for `name` and its long form. The authority of `before`
    /// stays trusted beside it, for adapters that have not changed over yet.
    ///
    /// # Errors
    /// When the name is none, or the crypto provider fails.
    pub fn make(name: &str, before: Option<&Self>, now: UnixTime) -> Result<Self, CertificateError> {
        let from = date(now.as_secs().saturating_sub(BACKDATED.as_secs()))?;
        let until = date(now.as_secs().saturating_add(VALIDITY.as_secs()))?;

        let mut authority = CertificateParams::new(Vec::new())?;
        (authority.not_before, authority.not_after) = (from, until);
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Told apart by their dates: a chain is looked up by this name.
        authority.distinguished_name.push(DnType::CommonName, format!("metrics-adapter {}", now.as_secs()));
        let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut ca = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let mut leaf = CertificateParams::new(vec![name.to_owned(), format!("{name}.cluster.local")])?;
        (leaf.not_before, leaf.not_after) = (from, until);
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.distinguished_name.push(DnType::CommonName, "metrics-adapter");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = leaf.signed_by(&key, &issuer)?.pem();

        if let Some(before) = before.and_then(|before| first_certificate(&before.ca)) {
            ca.push_str(before);
        }
        Ok(Self { ca, certificate, key: key.serialize_pem() })
    }

    /// The certificate and its key, ready to be shown.
    ///
    /// # Errors
    /// When either is no PEM, or they do not fit each other.
    pub fn identity(&self) -> Result<Identity, CertificateError> {
        let chain =
            CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &aws_lc_rs::default_provider())?;
        Ok(Identity { chain, key: Arc::new(key) })
    }

    /// How the API server would see it, which goes by the trusted authorities, the name and the dates; and how it will.
    #[must_use]
    pub fn standing(&self, name: &str, now: UnixTime) -> Standing {
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + RENEW_BEFORE);
        match (self.verify(name, now), self.verify(name, later)) {
            (Ok(()), Ok(())) => Standing::Good,
            (Ok(()), Err(_)) => Standing::Ageing,
            (Err(error), _) => {
                tracing::info!(%error, "the stored certificate is not what the API server would accept");
                Standing::Unusable
            }
        }
    }

    fn verify(&self, name: &str, at: UnixTime) -> Result<(), CertificateError> {
        let identity = self.identity()?;
        let server = ServerName::try_from(name).map_err(|_| CertificateError::Name(name.to_owned()))?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.ca.as_bytes()) {
            roots.add(root?)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let (leaf, rest) = identity.chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        verifier.verify_server_cert(leaf, rest, &server, &[], at)?;
        Ok(())
    }
}

fn date(seconds: u64) -> Result<OffsetDateTime, CertificateError> {
    let seconds = i64::try_from(seconds).map_err(|_| CertificateError::Clock)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CertificateError::Clock)
}

/// The first one of a bundle, which is the one that signs.
fn first_certificate(bundle: &str) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    let start = bundle.find("-----BEGIN CERTIFICATE-----")?;
    let end = bundle[start..].find(END)? + start + END.len();
    // With the line break that follows, if there is one.
    Some(bundle.get(start..=end).filter(|text| text.ends_with('\n')).unwrap_or(&bundle[start..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ws-metrics.prod.svc";
    const DAY: u64 = 24 * 60 * 60;

    fn day(day: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000 + day * DAY))
    }

    fn made() -> Stored {
        Stored::make(NAME, None, day(0)).expect("made")
    }

    #[test]
    fn is_good_for_eight_months_and_usable_for_twelve() {
        let stored = made();
        let standings = [0, 243, 244, 364, 366].map(|at| stored.standing(NAME, day(at)));
        use Standing::{Ageing, Good, Unusable};
        assert_eq!(standings, [Good, Good, Ageing, Ageing, Unusable]);
        assert_eq!(stored.standing("ws-metrics.prod.svc.cluster.local", day(0)), Good);
        let behind = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000 - 3_000));
        assert_eq!(stored.standing(NAME, behind), Good, "an API server whose clock is behind");
    }

    #[test]
    fn is_unusable_for_another_name_or_with_anything_broken() {
        let stored = made();
        for other in ["ws-metrics.test.svc", "prod.svc", "not a name"] {
            assert_eq!(stored.standing(other, day(0)), Standing::Unusable, "{other}");
        }
        let other = made();
        for broken in [
            Stored { key: other.key.clone(), ..stored.clone() },
            Stored { ca: other.ca.clone(), ..stored.clone() },
            Stored { ca: String::new(), ..stored.clone() },
            Stored { certificate: "x".to_owned(), ..stored.clone() },
            Stored { key: String::new(), ..stored.clone() },
        ] {
            assert_eq!(broken.standing(NAME, day(0)), Standing::Unusable, "{broken:?}");
        }
    }

    #[test]
    fn trusts_the_last_authority_beside_the_new_one_and_no_older_one() {
        let first = made();
        let second = Stored::make(NAME, Some(&first), day(250)).expect("made");
        let third = Stored::make(NAME, Some(&second), day(500)).expect("made");
        for stored in [&first, &second, &third] {
            assert!(stored.ca.ends_with("-----END CERTIFICATE-----\n"), "{}", stored.ca);
        }
        let count = |stored: &Stored| stored.ca.matches("BEGIN CERTIFICATE").count();
        assert_eq!([count(&first), count(&second), count(&third)], [1, 2, 2]);
        // What the API server says of the old certificate under the new bundle.
        let old = Stored { ca: second.ca.clone(), ..first.clone() };
        assert_eq!(old.standing(NAME, day(250)), Standing::Ageing);
        assert_eq!(second.standing(NAME, day(250)), Standing::Good);
        let oldest = Stored { ca: third.ca.clone(), ..first };
        assert_eq!(oldest.standing(NAME, day(250)), Standing::Unusable);
    }

    #[test]
    fn keeps_the_key_out_of_debug_and_the_authority_s_key_out_of_everything() {
        let stored = made();
        assert!(!format!("{stored:?}").contains("PRIVATE"));
        let all = format!("{}{}{}", stored.ca, stored.certificate, stored.key);
        assert_eq!(all.matches("PRIVATE KEY-----").count(), 2, "one key, its begin and its end");
    }
}
