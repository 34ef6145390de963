//! Which browsers may connect and call.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::{AllowedOrigins, Environment};
use crate::protocol::{ErrorCode, ServiceError};

/// Checks an upgrade's `Origin`. Browsers send it always and other clients need not, so its absence passes.
///
/// In development the service's own origin passes too, for its page at `/` connects to it.
///
/// # Errors
/// 403 when the origin is not allowed.
pub(super) fn check(
    allowed: &AllowedOrigins,
    environment: Environment,
    headers: &HeaderMap,
) -> Result<(), ServiceError> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let own = environment == Environment::Development && is_own(origin, headers.get(header::HOST));
    if origins.next().is_none() && (own || is_allowed(allowed, origin)) {
        return Ok(());
    }
    let shown: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(256).collect();
    Err(ServiceError::new(ErrorCode::Authorization, "connect", "This origin is not in ALLOWED_ORIGINS")
        .with_detail("origin", shown))
}

/// Answers browsers' questions about calls from other origins.
pub(super) fn cors(allowed: &AllowedOrigins) -> CorsLayer {
    let allowed = allowed.clone();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| is_allowed(&allowed, origin)))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("x-correlation-id"),
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("traceparent"),
        ])
        .expose_headers([HeaderName::from_static("x-correlation-id"), header::RETRY_AFTER])
}

fn is_allowed(allowed: &AllowedOrigins, origin: &HeaderValue) -> bool {
    match allowed {
        AllowedOrigins::Any => true,
        AllowedOrigins::List(list) => {
            list.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
        }
    }
}

fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let authority = origin.as_bytes().strip_prefix(b"http://");
    authority.is_some() && authority == host.map(HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(
        allowed: &AllowedOrigins,
        environment: Environment,
        pairs: &[(HeaderName, &'static str)],
    ) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        check(allowed, environment, &headers).is_ok()
    }

    #[test]
    fn only_listed_origins_and_clients_without_one_pass() {
        let list = AllowedOrigins::List(vec!["https://app.example".to_owned()]);
        let passes = |origin| verdict(&list, Environment::Production, &[(header::ORIGIN, origin)]);
        assert!(passes("https://app.example") && passes("HTTPS://APP.EXAMPLE"));
        for stranger in
            ["https://app.example.evil", "http://app.example", "https://app.example:8443", "null", ""]
        {
            assert!(!passes(stranger), "{stranger}");
        }
        assert!(verdict(&list, Environment::Production, &[]));
        let two = [(header::ORIGIN, "https://app.example"), (header::ORIGIN, "https://evil.example")];
        assert!(!verdict(&list, Environment::Production, &two));
        assert!(verdict(
            &AllowedOrigins::Any,
            Environment::Production,
            &[(header::ORIGIN, "https://any.example")]
        ));
    }

    #[test]
    fn its_own_page_passes_in_development_only() {
        let list = AllowedOrigins::List(Vec::new());
        let own = [(header::ORIGIN, "http://localhost:8004"), (header::HOST, "localhost:8004")];
        assert!(verdict(&list, Environment::Development, &own));
        assert!(!verdict(&list, Environment::Production, &own));
        assert!(!verdict(
            &list,
            Environment::Development,
            &[(header::ORIGIN, "http://"), (header::HOST, "a")]
        ));
    }
}
