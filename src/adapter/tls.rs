//! The TLS that the adapter speaks.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;

use super::front_proxy::Rules;
use crate::tls::Identity;

/// What connections are accepted with: any client may connect, but one that shows a certificate has to show one that
/// the rules know. Without rules none is asked for.
///
/// # Errors
/// When the key is of no known kind, or not the certificate's.
pub(super) fn server_config(
    identity: &Identity,
    rules: Option<&Rules>,
) -> Result<ServerConfig, rustls::Error> {
    let verifier =
        rules.map_or_else(WebPkiClientVerifier::no_client_auth, |rules| Arc::clone(&rules.verifier));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    // The aggregator speaks both; a handful of small requests a minute need no multiplexing.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
