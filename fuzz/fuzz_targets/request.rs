//! What a stranger's upgrade says: query, headers, token.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use websocket_service::auth::{Verifier, from_request, redact_query};
use websocket_service::config::{AuthConfig, KeyMaterial, Secret};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let current = Some(Secret::inline("a-key-for-fuzzing-that-is-long-enough-0123456789"));
    let config =
        AuthConfig { keys: KeyMaterial { current, ..KeyMaterial::default() }, ..AuthConfig::default() };
    Verifier::new(&config).expect("a key")
});

fuzz_target!(|data: (&str, Vec<&[u8]>, Vec<&[u8]>)| {
    let (query, authorizations, protocols) = data;
    let mut headers = HeaderMap::new();
    for (name, values) in
        [(header::AUTHORIZATION, authorizations), (header::SEC_WEBSOCKET_PROTOCOL, protocols)]
    {
        for value in values.into_iter().take(8) {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(name.clone(), value);
            }
        }
    }
    if let Ok(token) = from_request(Some(query), &headers).token {
        assert!(VERIFIER.verify(token.expose()).is_err(), "nobody here can sign");
    }
    let _ = redact_query(query);
});
