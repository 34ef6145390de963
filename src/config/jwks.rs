//! Key sets that issuers publish: what `JWT_JWKS_URL` may say.

use http::Uri;

use super::check::given_by;
use super::fault::{Problem, quoted};
use super::values::Values;
use super::{Config, Environment, keys, table};

/// Most entries: each is a task and a key set in memory.
const MAX_SETS: usize = 16;

/// Longest entry, in bytes.
const MAX_ENTRY_BYTES: usize = 2048;

const REMEDY: &str =
    "give https://HOST/PATH, or <issuer>=https://HOST/PATH with the issuer as its tokens' iss spells it";

/// One entry of `JWT_JWKS_URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetUrl {
    /// Whose tokens it verifies, by their `iss`; `None` for the one set that verifies all tokens.
    pub issuer: Option<String>,
    /// Where it is, `https` or `http`.
    pub url: Uri,
}

impl KeySetUrl {
    /// Whether it comes over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// The URL without its query, for logs and messages.
    #[must_use]
    pub fn shown(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let host = self.url.authority().map_or("", |authority| authority.as_str());
        format!("{scheme}://{host}{}", self.url.path())
    }
}

/// A URL, or `<issuer>=<URL>`, several separated by commas, each for another issuer.
pub(super) fn key_sets(text: &str) -> Result<Vec<KeySetUrl>, Problem> {
    let sets: Vec<KeySetUrl> = text.split(',').map(|item| entry(item.trim())).collect::<Result<_, _>>()?;
    if sets.len() > MAX_SETS {
        return Err(Problem::new(format!("has more than {MAX_SETS} entries"), "leave some out"));
    }
    if let Some(unnamed) = sets.iter().find(|set| sets.len() > 1 && set.issuer.is_none()) {
        let problem = format!("{} is one of several and names no issuer", quoted(&unnamed.shown()));
        let remedy = "say whose tokens each set verifies: <issuer>=https://HOST/PATH";
        return Err(Problem::new(problem, remedy));
    }
    let twice = |(at, set): (usize, &KeySetUrl)| {
        sets[..at].iter().any(|other| other.issuer == set.issuer).then(|| set.issuer.clone()).flatten()
    };
    if let Some(issuer) = sets.iter().enumerate().find_map(twice) {
        return Err(Problem::new(format!("names {} twice", quoted(&issuer)), "give each issuer one set"));
    }
    Ok(sets)
}

fn entry(text: &str) -> Result<KeySetUrl, Problem> {
    let refuse = |what: &str| Err(Problem::new(format!("{} {what}", quoted(text)), REMEDY));
    if text.len() > MAX_ENTRY_BYTES {
        return refuse("is too long");
    }
    // An issuer is mostly a URL itself, so the last of two URLs counts; one that follows a `=` in a query is escaped there.
    let split = ["=https://", "=http://"].iter().filter_map(|mark| text.find(mark)).min();
    let (issuer, url) = match split {
        Some(at) => (Some(&text[..at]), &text[at + 1..]),
        None => (None, text),
    };
    if issuer.is_some_and(|issuer| issuer.trim().is_empty() || issuer.chars().any(char::is_control)) {
        return refuse("names no issuer");
    }
    let Ok(parsed) = url.parse::<Uri>() else { return refuse("is no URL") };
    let (Some("http" | "https"), Some(authority)) = (parsed.scheme_str(), parsed.authority()) else {
        return refuse("is no URL");
    };
    let bare_colon = authority.port_u16().is_none() && !authority.as_str().ends_with(authority.host());
    if authority.host().is_empty() || bare_colon {
        return refuse("has no valid host and port");
    }
    // A user there would be a secret in a setting that is shown, and a fragment is never sent.
    if authority.as_str().contains('@') || url.contains('#') {
        return refuse("holds a user or a fragment");
    }
    Ok(KeySetUrl { issuer: issuer.map(|issuer| issuer.trim().to_owned()), url: parsed })
}

/// Keys come from issuers or from the operator, so that it is plain who may sign; and no one on the way may put keys in.
pub(super) fn check(config: &Config, values: &mut Values) {
    use table::{
        JWT_ALGORITHM, JWT_ISSUER, JWT_JWKS_URL, JWT_KEYS_DIR, JWT_PREVIOUS_PUBLIC_KEY, JWT_PUBLIC_KEY,
    };
    let sets = &config.auth.keys.published;
    if sets.is_empty() || !values.sound(&[&JWT_JWKS_URL, &JWT_ALGORITHM]) {
        return;
    }
    let algorithm = config.auth.algorithm;
    if algorithm.is_symmetric() {
        let problem = format!("cannot hold the shared keys of JWT_ALGORITHM {}", keys::name(algorithm));
        values.fault(
            &JWT_JWKS_URL,
            Problem::new(problem, "set JWT_ALGORITHM to the issuer's own, such as RS256"),
        );
        return;
    }
    let beside = [&JWT_PUBLIC_KEY, &JWT_PREVIOUS_PUBLIC_KEY, &JWT_KEYS_DIR];
    if let Some(other) = beside.into_iter().find(|other| values.source(other).is_some()) {
        let problem = format!("takes the place of {}", given_by(other, values));
        values.fault(&JWT_JWKS_URL, Problem::new(problem, "leave one of them out"));
    }
    if config.auth.issuer.is_some() && sets.iter().any(|set| set.issuer.is_some()) {
        let problem = format!("says whose tokens are taken, {} does too", given_by(&JWT_JWKS_URL, values));
        values.fault(&JWT_ISSUER, Problem::new(problem, "leave it out"));
    }
    let strict = config.environment == Environment::Production && values.sound(&[&table::ENVIRONMENT]);
    if let Some(plain) = sets.iter().find(|set| strict && !set.is_https()) {
        let problem =
            format!("{} is not https, so whoever is on the way can put keys in", quoted(&plain.shown()));
        let remedy = "give its https:// URL; a private authority is trusted through SSL_CERT_FILE";
        values.fault(&JWT_JWKS_URL, Problem::new(problem, remedy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    const URL: &str = "https://id.example/realms/x/protocol/openid-connect/certs";

    fn read(text: &str) -> Vec<(Option<String>, String)> {
        let sets = key_sets(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        sets.into_iter().map(|set| (set.issuer, set.url.to_string())).collect()
    }

    #[test]
    fn a_url_alone_is_for_all_tokens_and_named_ones_are_for_their_issuer() {
        assert_eq!(read(URL), [(None, URL.to_owned())]);
        assert_eq!(read("http://127.0.0.1:8080/k?p=a=b")[0].1, "http://127.0.0.1:8080/k?p=a=b");
        let text = format!("https://id.example/realms/x={URL}, login=http://[::1]:8080/jwks?kind=sig");
        assert_eq!(
            read(&text),
            [
                (Some("https://id.example/realms/x".to_owned()), URL.to_owned()),
                (Some("login".to_owned()), "http://[::1]:8080/jwks?kind=sig".to_owned())
            ]
        );
        let shown = key_sets("http://[::1]:8080/jwks?kind=sig").expect("sound")[0].shown();
        assert_eq!(shown, "http://[::1]:8080/jwks");
    }

    #[test]
    fn what_cannot_be_asked_or_is_in_doubt_is_refused_with_its_reason() {
        let many = (0..17).map(|i| format!("{i}={URL}")).collect::<Vec<_>>().join(",");
        for (text, part) in [
            ("id.example/jwks", "no URL"),
            ("ftp://id.example/jwks", "no URL"),
            ("https://", "no URL"),
            ("a=id.example", "no URL"),
            ("https://id.example/a b", "no URL"),
            ("https://id.example:99999/jwks", "host and port"),
            ("https://id.example:/jwks", "host and port"),
            ("https://me:hush@id.example/jwks", "user or a fragment"),
            ("https://id.example/jwks#x", "user or a fragment"),
            ("=https://id.example/jwks", "names no issuer"),
            ("a=https://id.example/jwks,", "no URL"),
            ("https://a.example/jwks,https://b.example/jwks", "names no issuer"),
            ("a=https://a.example/jwks,https://b.example/jwks", "b.example/jwks\" is one of several"),
            ("a=https://a.example/jwks,a=https://b.example/jwks", "names \"a\" twice"),
            (&many, "more than 16"),
            (&format!("https://id.example/{}", "x".repeat(3000)), "too long"),
        ] {
            let problem = key_sets(text).expect_err(text);
            assert!(problem.problem.contains(part), "{text}: {problem:?}");
        }
    }

    fn load(settings: &[(&str, &str)]) -> Result<Config, String> {
        let sources =
            settings.iter().fold(Sources::default(), |all, (flag, value)| all.with_flag(flag, value));
        Config::load(&sources).map(|loaded| loaded.config).map_err(|faults| faults.to_string())
    }

    #[track_caller]
    fn refused(settings: &[(&str, &str)], part: &str) {
        let text = load(settings).expect_err("a fault");
        assert!(text.starts_with("bad configuration, 1 fault:") && text.contains(part), "{text}");
    }

    #[test]
    fn key_sets_take_the_place_of_other_keys_and_are_not_for_shared_ones() {
        let (rs, set) = (("jwt-algorithm", "RS256"), ("jwt-jwks-url", "https://id.example/jwks"));
        let named = ("jwt-jwks-url", "a=https://id.example/jwks");
        for settings in [&[rs, set][..], &[rs, named], &[rs, set, ("jwt-issuer", "a")]] {
            let settings = [settings, &[("environment", "production")]].concat();
            assert!(load(&settings).is_ok(), "{settings:?}");
        }
        refused(
            &[set],
            "JWT_JWKS_URL (flag --jwt-jwks-url): cannot hold the shared keys of JWT_ALGORITHM HS256",
        );
        refused(&[rs, named, ("jwt-issuer", "a")], "JWT_ISSUER (flag --jwt-issuer): says whose tokens");
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key pair");
        let public = key.public_key_pem();
        refused(
            &[("jwt-algorithm", "ES256"), set, ("jwt-public-key", &public)],
            "takes the place of JWT_PUBLIC_KEY (flag --jwt-public-key); leave one of them out",
        );
        let plain = ("jwt-jwks-url", "http://keys.svc/jwks");
        assert!(load(&[rs, plain, ("environment", "staging")]).is_ok());
        refused(&[rs, plain, ("environment", "production")], "\"http://keys.svc/jwks\" is not https");
        refused(&[rs, ("jwt-jwks-url", "keys.svc")], "\"keys.svc\" is no URL");
    }
}
