//! Tokens that no minter makes.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::Value;

use super::service::{SECRET, token};

/// A token with these claims, signed by the tests' key.
pub(crate) fn signed(claims: &Value) -> String {
    signed_by(claims, SECRET, Algorithm::HS256)
}

pub(crate) fn signed_by(claims: &Value, secret: &str, algorithm: Algorithm) -> String {
    // The minter installs what signs.
    let _ = token("anybody");
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
}

/// The claims of a good token, unsigned: `alg: none`.
pub(crate) fn unsigned(user: &str) -> String {
    let good = token(user);
    let claims = good.split('.').nth(1).expect("claims");
    // {"alg":"none"}
    format!("eyJhbGciOiJub25lIn0.{claims}.")
}
