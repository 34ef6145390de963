//! Rules between settings. A rule is silent while one of its settings has a fault of its own.

use secrecy::ExposeSecret;

use super::fault::Problem;
use super::setting::Setting;
use super::values::Values;
use super::{Config, Environment, Secret, jwks, keys, pem, reach, table};

/// Shortest `API_KEY` in production, in bytes.
const MIN_API_KEY_BYTES: usize = 16;

pub(super) fn check(config: &Config, values: &mut Values) {
    ports(config, values);
    proxies(config, values);
    pem::needs_both(values, &table::TLS_CERTIFICATE, &table::TLS_KEY);
    times(config, values);
    sizes(config, values);
    channels(config, values);
    reach::check(&config.backplane, values);
    token_keys(config, values);
    jwks::check(config, values);
    api_key(config, values);
}

fn ports(config: &Config, values: &mut Values) {
    let server = &config.server;
    if values.sound(&[&table::PORT, &table::ADMIN_PORT])
        && server.port == server.admin_port
        && server.port != 0
    {
        let problem = format!("{} is {} too", server.port, given_by(&table::ADMIN_PORT, values));
        values.fault(&table::PORT, Problem::new(problem, "give each listener a port of its own"));
    }
}

/// Whoever may say whose a connection is has to be known.
fn proxies(config: &Config, values: &mut Values) {
    if config.server.proxy_protocol && values.source(&table::TRUSTED_PROXIES).is_none() {
        let problem = format!("needs {}", table::TRUSTED_PROXIES.name);
        let remedy = "give the load balancers' addresses or networks, for nobody else is believed";
        values.fault(&table::PROXY_PROTOCOL, Problem::new(problem, remedy));
    }
}

fn times(config: &Config, values: &mut Values) {
    let (heartbeat, timeout) = (config.session.heartbeat, config.session.timeout);
    let sound = values.sound(&[&table::WEBSOCKET_HEARTBEAT_INTERVAL, &table::WEBSOCKET_CONNECTION_TIMEOUT]);
    if sound && heartbeat >= timeout {
        let other = given_by(&table::WEBSOCKET_CONNECTION_TIMEOUT, values);
        let problem = format!("{heartbeat:?} is not less than {timeout:?}, {other}");
        let remedy = "give a ping the time to be answered, such as half the timeout";
        values.fault(&table::WEBSOCKET_HEARTBEAT_INTERVAL, Problem::new(problem, remedy));
    }
}

fn sizes(config: &Config, values: &mut Values) {
    let (outbox, message) = (config.session.outbox.bytes, config.session.max_message_bytes);
    if values.sound(&[&table::OUTBOX_BYTES, &table::MAX_MESSAGE_BYTES]) && outbox < message {
        let problem =
            format!("{outbox} is less than {message}, {}", given_by(&table::MAX_MESSAGE_BYTES, values));
        let remedy = "make room for the largest message at least";
        values.fault(&table::OUTBOX_BYTES, Problem::new(problem, remedy));
    }
}

/// With history a user's names are `{<channel>}:…`. A brace within would have a cluster look for them on another node, and
/// at its beginning would make a plain channel look like one of messages.
fn channels(config: &Config, values: &mut Values) {
    let braces = config.backplane.channel_prefix.contains(['{', '}']);
    let sound = values.sound(&[&table::WEBSOCKET_CHANNEL_PREFIX, &table::HISTORY_SIZE]);
    if sound && braces && config.history.is_on() {
        let history = given_by(&table::HISTORY_SIZE, values);
        let problem = format!("has a brace, while there is history, {history}");
        let remedy = "make it a text without braces, such as ws:, or set HISTORY_SIZE to 0";
        values.fault(&table::WEBSOCKET_CHANNEL_PREFIX, Problem::new(problem, remedy));
    }
}

/// The keys of the configured algorithm's family have to be there, and fit. A missing shared key is made up in
/// development.
fn token_keys(config: &Config, values: &mut Values) {
    use table::{JWT_PREVIOUS_PUBLIC_KEY, JWT_PREVIOUS_SECRET_KEY, JWT_PUBLIC_KEY, JWT_SECRET_KEY};
    let algorithm = config.auth.algorithm;
    if !values.sound(&[&table::JWT_ALGORITHM, &table::ENVIRONMENT]) {
        return;
    }
    let (own, others) = if algorithm.is_symmetric() {
        ([&JWT_SECRET_KEY, &JWT_PREVIOUS_SECRET_KEY], [&JWT_PUBLIC_KEY, &JWT_PREVIOUS_PUBLIC_KEY])
    } else {
        ([&JWT_PUBLIC_KEY, &JWT_PREVIOUS_PUBLIC_KEY], [&JWT_SECRET_KEY, &JWT_PREVIOUS_SECRET_KEY])
    };
    let [current, previous] = own;
    let material = &config.auth.keys;
    let made_up = algorithm.is_symmetric() && config.environment == Environment::Development;
    let missing = material.current.is_none() && material.directory.is_none() && material.published.is_empty();
    if missing && !made_up && values.sound(&[current, &table::JWT_KEYS_DIR, &table::JWT_JWKS_URL]) {
        let problem = format!("tokens signed with {} cannot be verified without it", keys::name(algorithm));
        let remedy = if algorithm.is_symmetric() {
            "give the key, its file (…_FILE) or JWT_KEYS_DIR"
        } else {
            "give the key, its file (…_FILE), JWT_KEYS_DIR or JWT_JWKS_URL"
        };
        values.fault(current, Problem::new(problem, remedy));
    }
    // A key of the other family beside a missing one shows that the algorithm was forgotten.
    let stray = others.into_iter().find(|other| values.source(other).is_some());
    if let Some(stray) = stray.filter(|_| missing && made_up) {
        let problem = format!("is no key for JWT_ALGORITHM {}", keys::name(algorithm));
        values
            .fault(stray, Problem::new(problem, "set JWT_ALGORITHM to the key's own, or leave the key out"));
    }
    for (setting, key) in [(current, &material.current), (previous, &material.previous)] {
        let problem = key.as_ref().and_then(|key| refusal(config, key));
        if let Some(problem) = problem {
            values.fault(setting, problem);
        }
    }
    if let Some(folder) = &material.directory {
        let bad = keys::files(folder).into_iter().find_map(|path| {
            let Problem { problem, remedy } = refusal(config, &Secret::File(path.clone()))?;
            Some(Problem::new(format!("{}: {problem}", path.display()), remedy))
        });
        if let Some(problem) = bad {
            values.fault(&table::JWT_KEYS_DIR, problem);
        }
    }
}

fn refusal(config: &Config, key: &Secret) -> Option<Problem> {
    let strict = config.environment == Environment::Production;
    match key.read() {
        Ok(text) => keys::check(config.auth.algorithm, strict, text.expose_secret()).err(),
        Err(_) => Some(Problem::new("cannot be read", "make it a text file that this user can read")),
    }
}

fn api_key(config: &Config, values: &mut Values) {
    let strict = config.environment == Environment::Production;
    let key = config.publish.api_key.as_ref().and_then(|key| key.read().ok());
    let Some(key) = key.filter(|_| strict && values.sound(&[&table::ENVIRONMENT])) else { return };
    let problem = if key.expose_secret().len() < MIN_API_KEY_BYTES {
        format!("is shorter than {MIN_API_KEY_BYTES} bytes")
    } else if keys::is_example(key.expose_secret()) {
        "is an example, which anybody can guess".to_owned()
    } else {
        return;
    };
    values.fault(&table::API_KEY, Problem::new(problem, "make a random one: openssl rand -hex 32"));
}

pub(super) fn given_by(setting: &Setting, values: &Values) -> String {
    let source = values.source(setting).map(|source| source.to_string());
    format!("{} ({})", setting.name, source.as_deref().unwrap_or("not set"))
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Sources};

    const KEY: &str = "5f2b0c7e91d84a36b0f7c1e2d3a495867b6c5d4e3f201918";

    fn load(settings: &[(&str, &str)]) -> Result<Config, String> {
        let sources =
            settings.iter().fold(Sources::default(), |sources, (flag, value)| sources.with_flag(flag, value));
        Config::load(&sources).map(|loaded| loaded.config).map_err(|faults| faults.to_string())
    }

    #[track_caller]
    fn refused(settings: &[(&str, &str)], part: &str) {
        let text = load(settings).expect_err("a fault");
        assert!(text.starts_with("bad configuration, 1 fault:") && text.contains(part), "{text}");
    }

    fn pem() -> (String, String) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key pair");
        (key.public_key_pem(), key.serialize_pem())
    }

    #[test]
    fn ports_differ_unless_picked() {
        refused(&[("port", "9004")], "PORT (flag --port): 9004 is ADMIN_PORT (default) too");
        assert!(load(&[("port", "0"), ("admin-port", "0")]).is_ok());
    }

    #[test]
    fn heartbeat_and_outbox_fit_their_partners() {
        refused(
            &[("websocket-heartbeat-interval", "60")],
            "60s is not less than 60s, WEBSOCKET_CONNECTION_TIMEOUT",
        );
        refused(&[("outbox-bytes", "64000")], "64000 is less than 65536, MAX_MESSAGE_BYTES (default)");
        assert!(load(&[("outbox-bytes", "64KiB"), ("websocket-heartbeat-interval", "59.9")]).is_ok());
    }

    #[test]
    fn history_needs_a_plain_prefix() {
        for prefix in ["{ws}:", "ws}", "{"] {
            let prefix = ("websocket-channel-prefix", prefix);
            refused(&[prefix], "has a brace, while there is history, HISTORY_SIZE (default)");
            assert!(load(&[prefix, ("history-size", "0")]).is_ok());
        }
        refused(&[("websocket-channel-prefix", "")], "is empty");
    }

    #[test]
    fn a_rule_is_silent_about_a_setting_that_is_bad_itself() {
        refused(&[("port", "abc"), ("admin-port", "8004")], "\"abc\" is no whole number");
        refused(&[("jwt-algorithm", "none"), ("environment", "production")], "JWT_ALGORITHM");
    }

    #[test]
    fn only_development_does_without_a_key() {
        assert!(load(&[]).expect("sound").auth.keys.current.is_none());
        for environment in ["testing", "staging", "production"] {
            refused(&[("environment", environment)], "JWT_SECRET_KEY (not set): tokens signed with HS256");
            assert!(load(&[("environment", environment), ("jwt-secret-key", KEY)]).is_ok());
        }
        refused(&[("jwt-algorithm", "ES256")], "JWT_PUBLIC_KEY (not set)");
    }

    #[test]
    fn production_refuses_weak_shared_keys_also_previous_ones() {
        let example = crate::config::table::EXAMPLE_KEY;
        for (key, part) in
            [("k7Qz!x9Lm2", "shorter than 32 bytes"), ("secret", "example"), (example, "example")]
        {
            let settings = [("environment", "production"), ("jwt-secret-key", key)];
            refused(&settings, part);
            assert!(!load(&settings).expect_err("a fault").contains(&format!(": {key}")));
            refused(
                &[("environment", "production"), ("jwt-secret-key", KEY), ("jwt-previous-secret-key", key)],
                "JWT_PREVIOUS_SECRET_KEY (flag --jwt-previous-secret-key)",
            );
            assert!(load(&[("environment", "staging"), ("jwt-secret-key", key)]).is_ok());
        }
    }

    #[test]
    fn keys_of_the_other_family_are_refused() {
        let (public, private) = pem();
        refused(&[("jwt-secret-key", &public)], "is a key in PEM, which is no secret for HS256");
        refused(&[("jwt-public-key", &public)], "is no key for JWT_ALGORITHM HS256");
        let asymmetric = ("jwt-algorithm", "es256");
        refused(&[asymmetric, ("jwt-public-key", &private)], "is a private key");
        refused(&[asymmetric, ("jwt-public-key", "hush")], "is no public key for ES256 in PEM");
        refused(
            &[asymmetric, ("jwt-public-key", &public), ("jwt-previous-public-key", "x")],
            "JWT_PREVIOUS_PUBLIC_KEY",
        );
        let escaped = public.replace('\n', "\\n");
        assert!(load(&[asymmetric, ("jwt-public-key", &escaped), ("environment", "production")]).is_ok());
    }

    #[test]
    fn a_folder_of_keys_takes_the_place_of_a_key_and_is_held_to_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("UTF-8");
        let settings = [("environment", "production"), ("jwt-keys-dir", path)];
        std::fs::write(folder.path().join("current"), KEY).expect("written");
        assert!(load(&settings).is_ok());
        std::fs::write(folder.path().join("next"), "changeme").expect("written");
        refused(&settings, "next: is an example");
        refused(&[("jwt-keys-dir", "/no/such/folder")], "JWT_KEYS_DIR (flag --jwt-keys-dir): cannot be read");
    }

    #[test]
    fn production_refuses_a_weak_api_key_and_does_without_redis() {
        let production = [("environment", "production"), ("jwt-secret-key", KEY)];
        let with = |key| [production[0], production[1], ("api-key", key)];
        refused(&with("k7Qz!x9Lm2"), "API_KEY (flag --api-key): is shorter than 16 bytes");
        refused(&with("changemechangemechangeme"), "API_KEY (flag --api-key): is an example");
        assert!(load(&with("9f8e7d6c5b4a3928")).is_ok());
        assert!(load(&production).expect("sound").backplane.redis_url.is_none());
    }
}
