use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, EncodingKey};
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use super::KeyError;
use super::keys::install_provider;
use super::reload::{Live, RawKey, Reload, Reloaded, Source};
use super::token::bearer_credentials;
use crate::config::{PublishConfig, Secret};
use crate::protocol::{ErrorCode, ServiceError};

/// Why a publisher's request is refused. Says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// No `Authorization: Bearer`.
    #[error("the API key is missing: send Authorization: Bearer <API key>")]
    Missing,
    /// Not the configured key.
    #[error("the API key is wrong")]
    Wrong,
    /// More than one `Authorization: Bearer`.
    #[error("the API key must be given once")]
    Several,
}

impl From<ApiKeyError> for ServiceError {
    /// An `INVALID_API_KEY` of the operation `authenticate`.
    fn from(error: ApiKeyError) -> Self {
        Self::new(ErrorCode::InvalidApiKey, "authenticate", error.to_string())
    }
}

/// The key of the publish API. Its file, where it is in one, is reread by [`Reload`].
pub struct ApiKey(Live<ApiKeySource>);

impl ApiKey {
    /// The configured key; `None` without one, where the publish API does not exist.
    ///
    /// # Errors
    /// [`KeyError`] when its file cannot be read, or the key is empty or no visible ASCII.
    pub fn new(config: &PublishConfig) -> Result<Option<Self>, KeyError> {
        install_provider();
        let Some(secret) = &config.api_key else { return Ok(None) };
        // Random, so that what a caller can time is not the hash of what it sent.
        let salt: [u8; 32] = rand::random();
        let source = ApiKeySource { secret: secret.clone(), salt: EncodingKey::from_secret(&salt) };
        Live::load(source).map(|live| Some(Self(live)))
    }

    /// Whether the request carries the key, compared in a time that depends on neither key nor length.
    ///
    /// # Errors
    /// [`ApiKeyError`], to be answered with 401.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiKeyError> {
        let mut offered = headers.get_all(AUTHORIZATION).iter().filter_map(bearer_credentials);
        let Some(key) = offered.next().filter(|key| !key.is_empty()) else {
            return Err(ApiKeyError::Missing);
        };
        if offered.next().is_some() {
            return Err(ApiKeyError::Several);
        }
        let digest = self.0.source().digest(key).ok_or(ApiKeyError::Wrong)?;
        if bool::from(digest.as_bytes().ct_eq(self.0.get().as_bytes())) {
            Ok(())
        } else {
            Err(ApiKeyError::Wrong)
        }
    }
}

impl Reload for ApiKey {
    fn name(&self) -> &'static str {
        "API key"
    }

    fn reload(&self) -> Reloaded {
        self.0.reload()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([redacted])")
    }
}

struct ApiKeySource {
    secret: Secret,
    salt: EncodingKey,
}

impl ApiKeySource {
    /// HMAC-SHA256 with the salt, as 43 characters: equal lengths whatever is compared.
    fn digest(&self, key: &[u8]) -> Option<String> {
        jsonwebtoken::crypto::sign(key, &self.salt, Algorithm::HS256).ok()
    }
}

impl Source for ApiKeySource {
    type Raw = RawKey;
    /// The key's digest.
    type Built = String;

    fn read(&self) -> Result<RawKey, KeyError> {
        Ok(RawKey(self.secret.read()?))
    }

    fn build(&self, raw: &RawKey) -> Result<String, KeyError> {
        let invalid = |problem| KeyError::Invalid { key: "WEBSOCKET_SERVICE_API_KEY".to_owned(), problem };
        let key = raw.0.expose_secret();
        // A header could not carry it, so no request would ever pass.
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("the key must be visible ASCII without spaces, one character at least"));
        }
        self.digest(key.as_bytes()).ok_or_else(|| invalid("the key cannot be hashed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (AUTHORIZATION, HeaderValue::from_static(line))).collect()
    }

    fn key(secret: Secret) -> Result<Option<ApiKey>, KeyError> {
        ApiKey::new(&PublishConfig { api_key: Some(secret) })
    }

    #[test]
    fn passes_the_key_and_nothing_else() {
        let key = key(Secret::inline("sesame-open")).expect("a good key").expect("a key");
        for line in ["Bearer sesame-open", "bearer  sesame-open", "BEARER sesame-open"] {
            assert_eq!(key.check(&headers(&[line])), Ok(()), "{line}");
        }
        for line in [
            "Bearer sesame-ope",
            "Bearer sesame-openx",
            "Bearer SESAME-OPEN",
            "Bearer x",
            "Bearer sesame-open x",
        ] {
            assert_eq!(key.check(&headers(&[line])), Err(ApiKeyError::Wrong), "{line}");
        }
        for lines in [&[] as &[_], &["Bearer"], &["Bearer "], &["Basic sesame-open"], &["sesame-open"]] {
            assert_eq!(key.check(&headers(lines)), Err(ApiKeyError::Missing), "{lines:?}");
        }
        assert_eq!(key.check(&headers(&["Bearer sesame-open", "Bearer x"])), Err(ApiKeyError::Several));
    }

    #[test]
    fn without_a_setting_there_is_none_and_a_useless_one_is_an_error() {
        assert!(ApiKey::new(&PublishConfig::default()).expect("no error").is_none());
        for bad in ["", "two words", "tab\t", "schlüssel", "a\nb"] {
            let error = key(Secret::inline(bad)).expect_err("useless").to_string();
            assert!(error.contains("API_KEY") && (bad.is_empty() || !error.contains(bad)), "{error}");
        }
    }

    #[test]
    fn a_changed_file_changes_the_key_and_a_bad_one_does_not() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let put = |text: &str| std::fs::write(file.path(), text).expect("written");
        put("first\n");
        let key = key(Secret::File(file.path().to_owned())).expect("a good key").expect("a key");
        assert_eq!(key.check(&headers(&["Bearer first"])), Ok(()));
        assert!(matches!(key.reload(), Reloaded::Unchanged));
        put("second\n");
        assert!(matches!(key.reload(), Reloaded::Swapped));
        assert_eq!(key.check(&headers(&["Bearer first"])), Err(ApiKeyError::Wrong));
        put("\n");
        assert!(matches!(key.reload(), Reloaded::Kept(_)));
        assert_eq!(key.check(&headers(&["Bearer second"])), Ok(()));
        assert!(!format!("{key:?}").contains("second"));
        assert_eq!(key.name(), "API key", "for the log");
    }
}
