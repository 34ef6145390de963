//! Keys and tokens for tests. Key pairs are made when a test asks for them; none is in the repository.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use jsonwebtoken::crypto::sign;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey};
use rcgen::{KeyPair, RsaKeySize, SignatureAlgorithm};
use serde_json::{Value, json};

use super::keys::{algorithm, install_provider};
use super::{Grant, Minter};
use crate::config::{AuthConfig, KeyMaterial, Secret, TokenAlgorithm};
use crate::protocol::UserId;

/// A secret for tests only.
pub(crate) const SECRET: &str = "test-only-secret-0123456789abcdef";

/// Tests' "now": a fixed second, so that edges of times are exact.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) const ALGORITHMS: [TokenAlgorithm; 12] = {
    use TokenAlgorithm::*;
    [Hs256, Hs384, Hs512, Rs256, Rs384, Rs512, Ps256, Ps384, Ps512, Es256, Es384, EdDsa]
};

pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).expect("a user id")
}

pub(crate) fn config(algorithm: TokenAlgorithm, key: &str) -> AuthConfig {
    let keys = KeyMaterial { current: Some(Secret::inline(key)), ..KeyMaterial::default() };
    AuthConfig { algorithm, keys, ..AuthConfig::default() }
}

pub(crate) fn hs_config() -> AuthConfig {
    config(TokenAlgorithm::Hs256, SECRET)
}

/// The two halves of a key, as they stand in files. For HS algorithms both are the secret.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) private: String,
    pub(crate) public: String,
}

fn make(algorithm: &'static SignatureAlgorithm) -> Pair {
    of(&KeyPair::generate_for(algorithm).expect("a key pair"))
}

fn of(pair: &KeyPair) -> Pair {
    Pair { private: pair.serialize_pem(), public: pair.public_key_pem() }
}

/// Two RSA pairs for the whole test run: making one takes a while.
static RSA: LazyLock<[Pair; 2]> = LazyLock::new(|| {
    [(); 2].map(|()| {
        of(&KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key pair"))
    })
});

/// Two different pairs that suit the algorithm.
pub(crate) fn pairs(algorithm: TokenAlgorithm) -> [Pair; 2] {
    use TokenAlgorithm::{EdDsa, Es256, Es384};
    match algorithm {
        _ if algorithm.is_symmetric() => [SECRET.to_owned(), format!("{SECRET}-other")]
            .map(|key| Pair { private: key.clone(), public: key }),
        Es256 => [(); 2].map(|()| make(&rcgen::PKCS_ECDSA_P256_SHA256)),
        Es384 => [(); 2].map(|()| make(&rcgen::PKCS_ECDSA_P384_SHA384)),
        EdDsa => [(); 2].map(|()| make(&rcgen::PKCS_ED25519)),
        _ => RSA.clone(),
    }
}

/// The public half as an entry of a key set.
pub(crate) fn jwk(alg: TokenAlgorithm, pair: &Pair, kid: Option<&str>) -> Value {
    install_provider();
    let pem = pair.private.as_bytes();
    let key = match alg {
        _ if alg.is_symmetric() => Ok(EncodingKey::from_secret(pem)),
        TokenAlgorithm::Es256 | TokenAlgorithm::Es384 => EncodingKey::from_ec_pem(pem),
        TokenAlgorithm::EdDsa => return ed_jwk(pair, kid),
        _ => EncodingKey::from_rsa_pem(pem),
    };
    let jwk = Jwk::from_encoding_key(&key.expect("a key"), algorithm(alg)).expect("a JWK");
    named(serde_json::to_value(jwk).expect("JSON"), kid)
}

/// The library takes no private key with its public half beside it.
fn ed_jwk(pair: &Pair, kid: Option<&str>) -> Value {
    let key = DecodingKey::from_ed_pem(pair.public.as_bytes()).expect("a key");
    let x = base64(key.try_get_as_bytes().expect("32 bytes"));
    named(json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x }), kid)
}

fn named(mut jwk: Value, kid: Option<&str>) -> Value {
    jwk["use"] = json!("sig");
    if let Some(kid) = kid {
        jwk["kid"] = json!(kid);
    }
    jwk
}

/// A key set of these entries.
pub(crate) fn set_of(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

/// A token for alice, good for an hour from now, by the private half.
pub(crate) fn signed(alg: TokenAlgorithm, pair: &Pair, kid: Option<&str>, issuer: Option<&str>) -> String {
    let grant = Grant {
        user: user("alice"),
        lifetime: Duration::from_secs(3600),
        issuer: issuer.map(str::to_owned),
        audience: None,
        key_id: kid.map(str::to_owned),
    };
    let minter = Minter::new(alg, &pair.private.clone().into()).expect("a private key");
    minter.mint(&grant).expect("a token").expose().to_owned()
}

/// A token with exactly this header and these claims, signed by HMAC with the key.
pub(crate) fn raw_hs(alg: TokenAlgorithm, header: &str, claims: &str, key: &str) -> String {
    install_provider();
    let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
    let signature = sign(message.as_bytes(), &EncodingKey::from_secret(key.as_bytes()), algorithm(alg));
    format!("{message}.{}", signature.expect("a signature"))
}

/// An HS256 token by [`SECRET`] with these claims.
pub(crate) fn token(claims: &Value) -> String {
    raw_hs(TokenAlgorithm::Hs256, r#"{"alg":"HS256"}"#, &claims.to_string(), SECRET)
}

/// As [`token`], for alice, good for an hour from [`NOW`], by `key` and with a `kid`.
pub(crate) fn token_by(key: &str, kid: Option<&str>) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT", "kid": kid });
    raw_hs(TokenAlgorithm::Hs256, &header.to_string(), &good_claims().to_string(), key)
}

pub(crate) fn good_claims() -> Value {
    json!({ "sub": "alice", "exp": NOW + 3600 })
}

/// Base64 for URLs, without padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..=chunk.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}
