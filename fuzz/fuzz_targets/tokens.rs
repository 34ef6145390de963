//! What a token says that is signed: an issuer's users choose more of it than its issuer knows. One line of header, the
//! rest are claims.
#![no_main]

use std::sync::LazyLock;
use std::time::SystemTime;

use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use libfuzzer_sys::fuzz_target;
use websocket_service::auth::Verifier;
use websocket_service::config::{AuthConfig, KeyMaterial, Secret};
use websocket_service::protocol::limits::MAX_TOKEN_BYTES;

const KEY: &str = "a-key-for-fuzzing-that-is-long-enough-0123456789";

static VERIFIERS: LazyLock<[Verifier; 2]> = LazyLock::new(|| {
    [None, Some("issuer".to_owned())].map(|name| {
        let keys = KeyMaterial { current: Some(Secret::inline(KEY)), ..KeyMaterial::default() };
        let config = AuthConfig { keys, issuer: name.clone(), audience: name, ..AuthConfig::default() };
        Verifier::new(&config).expect("a key")
    })
});

fuzz_target!(|data: &[u8]| {
    let verifiers = &*VERIFIERS;
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = sign(message.as_bytes(), &EncodingKey::from_secret(KEY.as_bytes()), Algorithm::HS256);
    let token = format!("{message}.{}", signature.expect("a signature"));
    for verifier in verifiers {
        if let Ok(identity) = verifier.verify(&token) {
            assert!(token.len() <= MAX_TOKEN_BYTES);
            assert!((1..=256).contains(&identity.user.as_str().len()));
            // The leeway is 5 s.
            assert!(identity.expires_at + std::time::Duration::from_secs(5) > SystemTime::now());
        }
    }
});

/// Base64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..=chunk.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}
