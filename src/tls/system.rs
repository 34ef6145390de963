use std::io;

use rustls::RootCertStore;
use rustls_native_certs::load_native_certs;

/// The system's authorities. `SSL_CERT_FILE` and `SSL_CERT_DIR` say where others are. Reads files.
///
/// # Errors
/// When there is none.
pub fn system_roots() -> io::Result<RootCertStore> {
    let found = load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match (roots.is_empty(), found.errors.into_iter().next()) {
        (true, Some(error)) => Err(io::Error::other(error)),
        (true, None) => Err(io::Error::other("this system trusts no certificate authority")),
        (false, _) => Ok(roots),
    }
}
