//! The loader as a whole.

use proptest::prelude::*;

use super::*;

fn load(sources: &Sources) -> Result<Loaded, Faults> {
    Config::load(sources)
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_structs() {
    let loaded = load(&Sources::default()).expect("sound");
    assert_eq!(format!("{:?}", loaded.config), format!("{:?}", Config::default()));
    assert!(loaded.origins.iter().all(|origin| origin.source == Source::Default));
}

#[test]
fn every_example_but_a_path_is_a_sound_value_and_every_bound_fits_its_type() {
    for setting in SETTINGS {
        let values = match setting.kind {
            Kind::Number(min, max) => vec![min.to_string(), max.to_string()],
            Kind::Limit(max) | Kind::Milliseconds(max) => vec!["0".to_owned(), max.to_string()],
            Kind::Choice(names) => names().into_iter().map(str::to_owned).collect(),
            _ => continue,
        };
        for value in values {
            let result = load(&Sources::default().with_flag(&kebab(setting.name), &value));
            // A rule between settings may object, the setting's own kind may not.
            let own = |faults: &Faults| faults.iter().any(|fault| fault.problem.starts_with('"'));
            assert!(!result.as_ref().is_err_and(own), "{} {value}", setting.name);
        }
    }
    let config = load(&Sources::default().with_flag("max-connections", "10000000")).expect("sound").config;
    assert_eq!(config.limits.connections, 10_000_000);
}

#[test]
fn zero_is_no_limit() {
    let flags = ["max-connections-per-address", "handshakes-per-second", "client-messages-per-second"];
    let with = |value: &str| {
        let sources = flags.iter().fold(Sources::default(), |sources, flag| sources.with_flag(flag, value));
        load(&sources).expect("sound").config
    };
    let config = with("0");
    assert_eq!((config.limits.per_address, config.limits.handshakes_per_second), (None, None));
    assert_eq!(config.session.client_messages_per_second, 0);
    let config = with("7");
    assert_eq!((config.limits.per_address, config.limits.handshakes_per_second), (Some(7), Some(7)));
    assert_eq!(config.session.client_messages_per_second, 7);
    assert!(load(&Sources::default().with_flag("client-messages-per-second", "")).is_err());
}

#[test]
fn the_log_format_follows_the_environment_unless_given() {
    let staging = Sources::default().with_flag("environment", "staging").with_flag("jwt-secret-key", "x");
    assert_eq!(load(&staging).expect("sound").config.telemetry.format, LogFormat::Json);
    assert_eq!(
        load(&staging.with_flag("log-format", "TEXT")).expect("sound").config.telemetry.format,
        LogFormat::Text
    );
}

#[test]
fn all_faults_are_told_at_once_each_on_a_line() {
    let sources = Sources::default()
        .with_yaml("a.yaml", "port: many\nno_such: 1\n")
        .with_dotenv("WEBSOCKET_SERVICE_ECHO=perhaps\n")
        .with_environment("WEBSOCKET_SERVICE_HEARTBEAT_INTERVAL", "30")
        .with_environment("WEBSOCKET_SERVICE_OUTBOX_BYTES", "1")
        .with_environment("WEBSOCKET_SERVICE_API_KEY_FILE", "/no/such/file")
        .with_flag("environment", "production");
    let text = load(&sources).expect_err("faults").to_string();
    let parts = [
        "  PORT (a.yaml: port): \"many\" is no whole number within bounds; allowed: whole number, 0 to 65535",
        "  no_such (a.yaml: no_such): there is no such setting; the nearest one is ",
        "  ECHO (.env WEBSOCKET_SERVICE_ECHO): \"perhaps\" is neither on nor off",
        "  HEARTBEAT_INTERVAL (environment WEBSOCKET_SERVICE_HEARTBEAT_INTERVAL): there is no such setting",
        "  OUTBOX_BYTES (environment WEBSOCKET_SERVICE_OUTBOX_BYTES): 1 is less than 65536",
        "  API_KEY (environment WEBSOCKET_SERVICE_API_KEY_FILE): its file cannot be read: No such file",
        "  JWT_SECRET_KEY (not set): ",
    ];
    assert_eq!(text.lines().next(), Some("bad configuration, 7 faults:"));
    assert_eq!(text.lines().count(), 8, "{text}");
    for part in parts {
        assert!(text.lines().any(|line| line.starts_with(part)), "{part} in {text}");
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let hush = "hush-hush";
    let base = || Sources::default().with_flag("environment", "production");
    let mut sources = vec![
        Sources::default().with_yaml("a.yaml", "api_key: [hush-hush]"),
        Sources::default().with_yaml("a.yaml", "api_key: {hush-hush: 1}"),
        Sources::default().with_yaml("a.yaml", "api_key: !tag hush-hush\nport: ["),
        Sources::default().with_yaml("a.yaml", "hush-hush"),
        Sources::default().with_dotenv("WEBSOCKET_SERVICE_API_KEY='hush-hush"),
        Sources::default().with_dotenv("WEBSOCKET_SERVICE_API_KEY=hush-hush \"hush-hush\n"),
        Sources::default().with_flag("jwt-secret-key", "-----BEGIN hush-hush"),
    ];
    for setting in SETTINGS.iter().filter(|setting| setting.is_secret()) {
        for form in setting.forms() {
            let flag = kebab(&setting.key(*form));
            sources.push(base().with_flag(&flag, hush));
            sources.push(Sources::default().with_flag(&flag, hush));
            sources.push(Sources::default().with_flag(&format!("{flag}s"), hush));
            sources.push(Sources::default().with_flag(&flag, &format!("redis://:{hush}@host")));
            sources.push(Sources::default().with_flag(&flag, &format!("{hush}\u{0}")));
        }
    }
    for sources in sources {
        let text = match load(&sources) {
            Ok(loaded) => format!("{loaded:?}"),
            Err(faults) => format!("{faults} {faults:?}"),
        };
        assert!(!text.contains("hush"), "{text}");
    }
}

fn key() -> impl Strategy<Value = String> {
    let keys = SETTINGS.iter().flat_map(|setting| setting.forms().iter().map(|form| setting.key(*form)));
    prop_oneof![9 => proptest::sample::select(keys.collect::<Vec<_>>()), 1 => ".*"]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        ".*",
        "[0-9.]{0,30}",
        "[0-9]{1,22} ?[KMGkmg]i?[Bb]?",
        "[a-z]{0,8}:/{0,3}[a-z:@*\\[\\].,/0-9]{0,20}",
        "\\[\"?[a-z:/*]{0,12}\"?,?\\]?",
    ]
}

proptest! {
    #[test]
    fn any_text_anywhere_is_a_value_or_a_fault(
        settings in proptest::collection::vec((0..4_usize, key(), value()), 0..6),
    ) {
        let sources = settings.iter().fold(Sources::default(), |sources, (layer, key, value)| match layer {
            0 => sources.with_flag(&kebab(key), value),
            1 => sources.with_environment(&format!("{PREFIX}{key}"), value),
            2 => sources.with_dotenv(&format!("{PREFIX}{key}={value}")),
            _ => sources.with_yaml("a.yaml", &format!("{}: {value}", key.to_ascii_lowercase())),
        });
        if let Err(faults) = load(&sources) {
            prop_assert!(faults.iter().count() > 0);
            prop_assert_eq!(faults.to_string().lines().count(), faults.iter().count() + 1);
        }
    }

    #[test]
    fn any_text_as_a_file_is_read_or_a_fault(dotenv in ".*", yaml in ".*") {
        let _ = load(&Sources::default().with_dotenv(&dotenv).with_yaml("a.yaml", &yaml));
    }
}
