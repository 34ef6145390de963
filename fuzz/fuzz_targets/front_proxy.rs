//! What calls the metrics adapter: certificates, the aggregator's headers, and the rules that say whom to believe.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::ConfigMap;
use libfuzzer_sys::fuzz_target;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use websocket_service::adapter::caller::{believe, expiry};
use websocket_service::adapter::front_proxy::Rules;

static AUTHORITY: LazyLock<String> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).expect("valid");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").pem()
});

fn rules(authority: &str, names: &str, users: &str) -> Option<Rules> {
    let data = BTreeMap::from(
        [
            ("requestheader-client-ca-file", authority),
            ("requestheader-allowed-names", names),
            ("requestheader-username-headers", users),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    Rules::read(&ConfigMap { data: Some(data), ..ConfigMap::default() }).ok()
}

fuzz_target!(|data: (&str, &str, &str, Vec<&[u8]>, Vec<(&str, &[u8])>)| {
    let (authority, names, users, chain, sent) = data;
    let _ = rules(authority, names, users);
    let mut headers = HeaderMap::new();
    headers.insert("x-remote-user", HeaderValue::from_static("system:admin"));
    for (name, value) in sent.into_iter().take(8) {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let chain: Vec<CertificateDer<'_>> = chain.into_iter().take(4).map(CertificateDer::from).collect();
    for leaf in &chain {
        let _ = expiry(leaf);
    }
    // The names and headers of the stranger's choice, even so: nobody here can sign.
    for rules in [rules(&AUTHORITY, names, users), rules(&AUTHORITY, "[]", r#"["X-Remote-User"]"#), None] {
        assert!(believe(rules.as_ref(), &chain, &headers).is_err());
    }
});
