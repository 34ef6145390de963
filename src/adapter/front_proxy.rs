//! Whom the aggregator's word is taken for: the rules that a cluster publishes for servers behind its API.
//!
//! They stand in a ConfigMap of `kube-system`, which is watched: authorities are rotated while the adapter runs.

use std::sync::Arc;

use axum::http::HeaderName;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, crypto::aws_lc_rs};
use tokio::sync::watch;
use tracing::{info, warn};

/// Where the rules are.
pub const NAMESPACE: &str = "kube-system";

/// What they are called there.
pub const CONFIG_MAP: &str = "extension-apiserver-authentication";

const AUTHORITIES: &str = "requestheader-client-ca-file";
const NAMES: &str = "requestheader-allowed-names";
const USER_HEADERS: &str = "requestheader-username-headers";

/// The rules in force.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Verifies a client's certificate; connections without one are let through, to be told 401.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Common names of the certificates that are believed; empty: any that an authority has signed.
    pub names: Vec<String>,
    /// Headers that name the user, the first that is there wins.
    pub user_headers: Vec<HeaderName>,
}

/// Why a ConfigMap holds no rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A key is missing: the cluster was set up without an aggregator.
    #[error("it has no {0}; see the API server's --requestheader-* flags")]
    Missing(&'static str),
    /// A key's value has another form.
    #[error("its {0} cannot be read: {1}")]
    Malformed(&'static str, String),
}

impl Rules {
    /// Reads the ConfigMap.
    ///
    /// # Errors
    /// [`RulesError`] when a key is missing or malformed.
    pub fn read(map: &ConfigMap) -> Result<Self, RulesError> {
        let value = |key| {
            let data = map.data.as_ref().and_then(|data| data.get(key));
            data.filter(|value| !value.is_empty()).ok_or(RulesError::Missing(key))
        };
        let list = |key, text: &str| {
            serde_json::from_str::<Vec<String>>(text)
                .map_err(|error| RulesError::Malformed(key, error.to_string()))
        };
        let authorities = authorities(value(AUTHORITIES)?)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| RulesError::Malformed(AUTHORITIES, error.to_string()))?;
        let user_headers = list(USER_HEADERS, value(USER_HEADERS)?)?;
        let user_headers: Result<Vec<HeaderName>, _> =
            user_headers.iter().map(|name| HeaderName::from_bytes(name.as_bytes())).collect();
        let user_headers =
            user_headers.map_err(|error| RulesError::Malformed(USER_HEADERS, error.to_string()))?;
        if user_headers.is_empty() {
            return Err(RulesError::Missing(USER_HEADERS));
        }
        // An absent list allows any name, as an empty one does.
        let names = value(NAMES).ok().map(|names| list(NAMES, names)).transpose()?.unwrap_or_default();
        Ok(Self { verifier, names, user_headers })
    }
}

fn authorities(pem: &str) -> Result<RootCertStore, RulesError> {
    let malformed = |error: String| RulesError::Malformed(AUTHORITIES, error);
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| malformed(error.to_string()))?;
        store.add(certificate).map_err(|error| malformed(error.to_string()))?;
    }
    if store.is_empty() { Err(malformed("no certificate in it".to_owned())) } else { Ok(store) }
}

/// Follows the ConfigMap for ever, and says so in the log when what it holds changes.
///
/// Rules that cannot be read leave the old ones in force, for a slip of the operator's must not stop the autoscaler;
/// a ConfigMap that is gone takes them away.
pub async fn watch_rules(client: Client, rules: watch::Sender<Option<Arc<Rules>>>) {
    let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let mut maps = std::pin::pin!(watcher::watch_object(maps, CONFIG_MAP).default_backoff());
    let mut seen = None;
    while let Some(event) = maps.next().await {
        match event {
            Ok(Some(map)) => {
                // What else is in the ConfigMap, and a list that was read anew, changes nothing.
                let data = Some(map.data.clone());
                if data == seen {
                    continue;
                }
                seen = data;
                match Rules::read(&map) {
                    Ok(read) => {
                        info!(names = ?read.names, "the aggregator's certificates are known");
                        rules.send_replace(Some(Arc::new(read)));
                    }
                    Err(error) => {
                        let known = rules.borrow().is_some();
                        warn!(%error, known, "ConfigMap {NAMESPACE}/{CONFIG_MAP}: {}", kept(known));
                    }
                }
            }
            Ok(None) => {
                seen = None;
                rules.send_replace(None);
                warn!("there is no ConfigMap {NAMESPACE}/{CONFIG_MAP}: nobody is believed");
            }
            Err(error) => {
                let known = rules.borrow().is_some();
                warn!(%error, "cannot watch ConfigMap {NAMESPACE}/{CONFIG_MAP}: {}", kept(known));
            }
        }
    }
}

fn kept(known: bool) -> &'static str {
    if known { "the rules of before stay in force" } else { "nobody is believed until it can be read" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn authority() -> String {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").pem()
    }

    fn map(data: &[(&str, &str)]) -> ConfigMap {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    #[test]
    fn reads_what_kubeadm_writes() {
        let pem = [authority(), authority()].concat();
        let rules = Rules::read(&map(&[
            (AUTHORITIES, &pem),
            (NAMES, r#"["front-proxy-client"]"#),
            (USER_HEADERS, r#"["X-Remote-User"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
        ]))
        .expect("rules");
        assert_eq!(rules.names, ["front-proxy-client"]);
        assert_eq!(rules.user_headers, ["x-remote-user"]);
        assert_eq!(rules.verifier.root_hint_subjects().len(), 2);
        assert!(rules.verifier.offer_client_auth() && !rules.verifier.client_auth_mandatory());
    }

    #[test]
    fn what_is_incomplete_is_no_rule() {
        let pem = authority();
        let user = r#"["X-Remote-User"]"#;
        for (data, says) in [
            (vec![(USER_HEADERS, user)], AUTHORITIES),
            (vec![(AUTHORITIES, ""), (USER_HEADERS, user)], AUTHORITIES),
            (vec![(AUTHORITIES, "no PEM"), (USER_HEADERS, user)], "no certificate"),
            (vec![(AUTHORITIES, &pem)], USER_HEADERS),
            (vec![(AUTHORITIES, &pem), (USER_HEADERS, "[]")], USER_HEADERS),
            (vec![(AUTHORITIES, &pem), (USER_HEADERS, r#"["a b"]"#)], USER_HEADERS),
            (vec![(AUTHORITIES, &pem), (USER_HEADERS, user), (NAMES, "all")], NAMES),
        ] {
            let error = Rules::read(&map(&data)).expect_err("incomplete").to_string();
            assert!(error.contains(says), "{error}");
        }
        let rules = Rules::read(&map(&[(AUTHORITIES, &pem), (USER_HEADERS, user), (NAMES, "[]")]));
        assert!(rules.is_ok_and(|rules| rules.names.is_empty()));
    }
}
