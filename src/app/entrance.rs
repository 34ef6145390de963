//! What stands between the world and the public listener.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::server::Door;
use crate::tls::{self, EVERY, Files, IdentityError, Shown};

/// The certificate that is shown, and where it comes from.
pub(super) struct Certificate {
    files: Files,
    shown: Arc<Shown>,
}

impl Certificate {
    /// Shows each renewed one, until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let Self { files, shown } = self;
        stop.run_until_cancelled(tls::watch(files, EVERY, |identity| shown.show(&identity))).await;
    }
}

/// As the settings say.
pub(super) fn of(config: &ServerConfig) -> Result<(Door, Option<Certificate>), IdentityError> {
    let announced_by = config.proxy_protocol.then(|| Arc::new(config.trusted_proxies.clone()));
    let Some(identity) = config.tls.clone() else {
        return Ok((Door { announced_by, tls: None }, None));
    };
    let files = Files { certificate: identity.certificate, key: identity.key };
    let shown = Shown::new(&files.load()?)?;
    let acceptor = TlsAcceptor::from(Arc::new(Arc::clone(&shown).server_config()?));
    Ok((Door { announced_by, tls: Some(acceptor) }, Some(Certificate { files, shown })))
}
