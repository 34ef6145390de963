//! Verifying tokens: the part of an upgrade that is all arithmetic.

use std::time::Duration;

use divan::{Bencher, black_box};
use rcgen::{KeyPair, RsaKeySize};
use secrecy::SecretString;
use websocket_service::auth::{Grant, Minter, Verifier};
use websocket_service::config::{AuthConfig, Choice, KeyMaterial, Secret, TokenAlgorithm};

use crate::support::{CALLS, user};

const SECRET: &str = "bench-only-secret-0123456789abcdef";
const HOUR: Duration = Duration::from_secs(3600);

/// A verifier, and a token for it that is good for so long.
fn pair(algorithm: TokenAlgorithm, lifetime: Duration) -> (Verifier, String) {
    let of = |pair: KeyPair| (pair.serialize_pem(), pair.public_key_pem());
    let (private, public) = match algorithm {
        TokenAlgorithm::Rs256 => {
            of(KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key pair"))
        }
        TokenAlgorithm::Es256 => {
            of(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key pair"))
        }
        _ => (SECRET.to_owned(), SECRET.to_owned()),
    };
    let keys = KeyMaterial { current: Some(Secret::inline(public)), ..KeyMaterial::default() };
    let config = AuthConfig { algorithm, keys, leeway: Duration::ZERO, ..AuthConfig::default() };
    let minter = Minter::new(algorithm, &SecretString::from(private)).expect("a good key");
    let token = minter.mint(&Grant::new(&config, user(0), lifetime)).expect("a token");
    (Verifier::new(&config).expect("a good key"), token.expose().to_owned())
}

/// What each upgrade costs by the algorithm that the operator chose.
#[divan::bench(args = ["HS256", "RS256", "ES256"], sample_size = 50)]
fn verify(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (verifier, token) = pair(TokenAlgorithm::parse(algorithm).expect("a name"), HOUR);
    assert!(verifier.verify(&token).is_ok());
    bencher.bench(|| verifier.verify(black_box(&token)));
}

/// What a stranger's token costs: nothing that is refused should cost more than what is let in.
#[divan::bench(args = ["expired", "forged", "of another algorithm", "no token", "too long"], sample_size = CALLS)]
fn refuse(bencher: Bencher<'_, '_>, what: &str) {
    let lifetime = if what == "expired" { Duration::ZERO } else { HOUR };
    let (verifier, good) = pair(TokenAlgorithm::Hs256, lifetime);
    let token = match what {
        "expired" => good,
        "forged" => {
            good.rsplit_once('.').map(|(claims, _)| format!("{claims}.{}", "A".repeat(43))).expect("a JWT")
        }
        "of another algorithm" => pair(TokenAlgorithm::Hs512, HOUR).1,
        "no token" => "hello".to_owned(),
        _ => good.repeat(100),
    };
    assert!(verifier.verify(&token).is_err(), "{what}");
    bencher.bench(|| verifier.verify(black_box(&token)));
}
