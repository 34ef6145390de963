use super::*;

use std::collections::BTreeMap;

use axum::http::HeaderValue;
use k8s_openapi::api::core::v1::ConfigMap;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.distinguished_name.push(DnType::CommonName, "front-proxy-client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        vec![params.signed_by(&key, &self.issuer).expect("a certificate").into()]
    }

    fn rules(&self, names: &str) -> Rules {
        let data = BTreeMap::from(
            [
                ("requestheader-client-ca-file", self.pem.as_str()),
                ("requestheader-allowed-names", names),
                ("requestheader-username-headers", r#"["X-Remote-User", "X-Other"]"#),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        Rules::read(&ConfigMap { data: Some(data), ..ConfigMap::default() }).expect("rules")
    }
}

const NAMES: &str = r#"["front-proxy-client"]"#;

fn user(name: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("x-remote-user".parse().expect("a name"), HeaderValue::from_static(name))])
}

#[test]
fn the_aggregator_is_believed() {
    let authority = Authority::new();
    let chain = authority.sign(|_| {});
    let headers = user("system:kube-aggregator");
    for names in [NAMES, "[]", r#"["other","front-proxy-client"]"#] {
        let rules = authority.rules(names);
        assert_eq!(believe(Some(&rules), &chain, &headers), Ok("system:kube-aggregator"), "{names}");
    }
}

#[test]
fn a_header_alone_says_nothing() {
    let authority = Authority::new();
    let rules = authority.rules("[]");
    assert_eq!(believe(Some(&rules), &[], &user("system:admin")), Err(Distrust::NoCertificate));
    assert_eq!(believe(None, &authority.sign(|_| {}), &user("system:admin")), Err(Distrust::NoRules));
}

#[test]
fn an_authority_that_is_out_of_force_is_not_believed_any_more() {
    let (old, new) = (Authority::new(), Authority::new());
    let chain = old.sign(|_| {});
    assert!(believe(Some(&old.rules(NAMES)), &chain, &user("a")).is_ok());
    assert_eq!(believe(Some(&new.rules(NAMES)), &chain, &user("a")), Err(Distrust::UntrustedCertificate));
}

#[test]
fn a_certificate_for_something_else_is_not_believed() {
    let authority = Authority::new();
    let rules = authority.rules("[]");
    let expired = authority.sign(|params| {
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    });
    assert_eq!(expiry(&expired[0]), Some(1_009_843_200));
    let server =
        authority.sign(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    for chain in [expired, server, vec![CertificateDer::from(vec![1, 2, 3])]] {
        assert_eq!(believe(Some(&rules), &chain, &user("a")), Err(Distrust::UntrustedCertificate));
    }
}

#[test]
fn the_common_name_must_be_allowed_and_only_one() {
    let authority = Authority::new();
    let rules = authority.rules(NAMES);
    let named = |name: &'static str| {
        authority.sign(|params| params.distinguished_name.push(DnType::CommonName, name))
    };
    assert!(believe(Some(&rules), &named("front-proxy-client"), &user("a")).is_ok());
    for name in ["other", "", "front-proxy-client.example", "FRONT-PROXY-CLIENT"] {
        assert_eq!(believe(Some(&rules), &named(name), &user("a")), Err(Distrust::WrongName), "{name:?}");
    }
    let nameless = authority.sign(|params| params.distinguished_name = rcgen::DistinguishedName::new());
    let two = authority.sign(|params| {
        // A name of its own type, with the object identifier of the common name.
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "other");
    });
    for chain in [nameless, two] {
        assert_eq!(believe(Some(&rules), &chain, &user("a")), Err(Distrust::WrongName));
    }
}

#[test]
fn somebody_must_be_named() {
    let authority = Authority::new();
    let (rules, chain) = (authority.rules(NAMES), authority.sign(|_| {}));
    for headers in [HeaderMap::new(), user("")] {
        assert_eq!(believe(Some(&rules), &chain, &headers), Err(Distrust::NoUser));
    }
    let other = HeaderMap::from_iter([("x-other".parse().expect("a name"), HeaderValue::from_static("b"))]);
    assert_eq!(believe(Some(&rules), &chain, &other), Ok("b"));
}
