//! Rules between settings. A rule is silent while one of its settings has a fault of its own.

use secrecy::ExposeSecret;

use super::fault::Problem;
use super::setting::Setting;
use super::values::Values;
use super::{Config, Environment, Secret, keys, table};

/// Shortest `API_KEY` in production, in bytes.
const MIN_API_KEY_BYTES: usize = 16;

pub(super) fn check(config: &Config, values: &mut Values) {
    ports(config, values);
    times(config, values);
    sizes(config, values);
    token_keys(config, values);
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
    let missing = material.current.is_none() && material.directory.is_none();
    if missing && !made_up && values.sound(&[current, &table::JWT_KEYS_DIR]) {
        let problem = format!("tokens signed with {} cannot be verified without it", keys::name(algorithm));
        values.fault(current, Problem::new(problem, "give the key, its file (…_FILE) or JWT_KEYS_DIR"));
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

fn given_by(setting: &Setting, values: &Values) -> String {
    let source = values.source(setting).map(|source| source.to_string());
    format!("{} ({})", setting.name, source.as_deref().unwrap_or("not set"))
}
