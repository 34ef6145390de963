use std::collections::BTreeMap;

use super::fault::{Fault, Problem, Source};
use super::links::is_service_link;
use super::setting::{Form, Initial, Kind, PREFIX, Setting};
use super::source::Sources;
use super::table::SETTINGS;
use super::yaml::{self, Node};

/// A setting's value as text, after the layers were laid over each other.
pub(super) struct Given {
    pub(super) text: String,
    pub(super) form: Form,
    pub(super) source: Source,
}

/// Values by the name of their setting.
pub(super) type Layer = BTreeMap<&'static str, Given>;

/// Lays the sources over each other: flags over environment over `.env` over YAML over defaults.
///
/// An empty text counts as a value: it lets a higher layer take an optional setting's value away.
pub(super) fn resolve(sources: &Sources, faults: &mut Vec<Fault>) -> Layer {
    faults.extend_from_slice(&sources.faults);
    let mut all = defaults();
    for layer in [yaml(sources, faults), dotenv(sources, faults), environment(sources, faults)] {
        all.extend(layer);
    }
    all.extend(flags(sources, faults));
    all
}

fn defaults() -> Layer {
    let of = |setting: &'static Setting| match setting.initial {
        Initial::Default(text) => Some((
            setting.name,
            Given { text: text.to_owned(), form: Form::InPlace, source: Source::Default },
        )),
        Initial::Unset(_) => None,
    };
    SETTINGS.iter().filter_map(of).collect()
}

fn yaml(sources: &Sources, faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::new();
    let Some((file, text)) = &sources.yaml else { return layer };
    let source = |key: String| Source::Yaml { file: file.clone(), key };
    let nodes = yaml::read(text).unwrap_or_else(|problem| {
        faults.push(Fault::new(None, Some(source(String::new())), problem));
        Vec::new()
    });
    for (key, node) in nodes {
        let known = Setting::find(&key.to_ascii_uppercase()).filter(|_| key == key.to_ascii_lowercase());
        let Some((setting, form)) = known else {
            faults.push(unknown(&key, source(key.clone()), str::to_ascii_lowercase));
            continue;
        };
        let text = match (node, setting.kind) {
            (Node::Null, _) => continue,
            (Node::Text(text), _) | (Node::List(text), Kind::Origins | Kind::Servers) => Ok(text),
            // `0123` and `1e3` would arrive as other texts than the file shows.
            (Node::Plain(_), Kind::Text(_) | Kind::Secret) => {
                Err(Problem::new("is a number or boolean in YAML", "put it in quotes"))
            }
            (Node::Plain(text), _) => Ok(text),
            (Node::List(_), _) => Err(Problem::new("is a list", "give one value")),
            (Node::Other, _) => Err(Problem::new("is no plain value", "give one value, or a list of texts")),
        };
        match text {
            Ok(text) => add(&mut layer, setting, Given { text, form, source: source(key) }, faults),
            Err(problem) => faults.push(Fault::new(Some(setting.name), Some(source(key)), problem)),
        }
    }
    layer
}

fn dotenv(sources: &Sources, faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::new();
    let Some(text) = &sources.dotenv else { return layer };
    let text = text.trim_start_matches('\u{feff}');
    let mut last = BTreeMap::new();
    for line in dotenvy::Iter::new(text.as_bytes()) {
        match line {
            // As everywhere else that `.env` files are read, the last of several is the one.
            Ok((variable, value)) => _ = last.insert(variable, value),
            Err(error) => {
                let source = Some(Source::Dotenv { variable: String::new() });
                faults.push(Fault::new(None, source, bad_line(text, &error)));
            }
        }
    }
    for (variable, text) in last {
        let Some(key) = variable.strip_prefix(PREFIX) else { continue };
        let source = Source::Dotenv { variable: variable.clone() };
        match Setting::find(key) {
            Some((setting, form)) => add(&mut layer, setting, Given { text, form, source }, faults),
            None => faults.push(unknown(key, source, |name| format!("{PREFIX}{name}"))),
        }
    }
    layer
}

/// Says which line it is instead of showing it, as dotenvy would: it may hold a secret.
fn bad_line(text: &str, error: &dotenvy::Error) -> Problem {
    const SHAPE: &str =
        "write NAME='value', in single quotes if it holds spaces, `$`, `#`, quotes or backslashes";
    let line = match error {
        dotenvy::Error::LineParse(line, _) => text.find(line.trim_end()),
        _ => None,
    };
    match line {
        Some(start) => {
            Problem::new(format!("line {} cannot be read", text[..start].matches('\n').count() + 1), SHAPE)
        }
        None => Problem::new("a line cannot be read", SHAPE),
    }
}

fn environment(sources: &Sources, faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::new();
    for (variable, text) in &sources.environment {
        let Some(key) = variable.strip_prefix(PREFIX) else { continue };
        if is_service_link(key, text) {
            continue;
        }
        let source = Source::Environment { variable: variable.clone() };
        match Setting::find(key) {
            Some((setting, form)) => {
                add(&mut layer, setting, Given { text: text.clone(), form, source }, faults);
            }
            None => faults.push(unknown(key, source, |name| format!("{PREFIX}{name}"))),
        }
    }
    layer
}

fn flags(sources: &Sources, faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::new();
    for (flag, text) in &sources.flags {
        let source = Source::Flag { flag: flag.clone() };
        match Setting::find(&flag.to_ascii_uppercase().replace('-', "_")) {
            Some((setting, form)) => {
                add(&mut layer, setting, Given { text: text.clone(), form, source }, faults);
            }
            None => faults.push(unknown(flag, source, |name| format!("--{}", kebab(name)))),
        }
    }
    layer
}

/// A setting's key as a flag spells it.
pub(crate) fn kebab(key: &str) -> String {
    key.to_ascii_lowercase().replace('_', "-")
}

/// Puts a value into its layer. Both forms of a secret in one layer contradict each other, unless one is empty.
fn add(layer: &mut Layer, setting: &'static Setting, given: Given, faults: &mut Vec<Fault>) {
    if let Some(other) = layer.get(setting.name).filter(|other| other.form != given.form) {
        if given.text.is_empty() {
            return;
        }
        if !other.text.is_empty() {
            let problem = format!("is given twice, here and by {}", other.source);
            let problem = Problem::new(problem, "give the value or its file, not both");
            faults.push(Fault::new(Some(setting.name), Some(given.source), problem));
            return;
        }
    }
    layer.insert(setting.name, given);
}

fn unknown(key: &str, source: Source, spell: impl Fn(&str) -> String) -> Fault {
    let nearest = spell(&Setting::nearest(&key.replace('-', "_")));
    let problem = Problem::new("there is no such setting", format!("the nearest one is {nearest}"));
    Fault::new(Some(key), Some(source), problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};
    use secrecy::ExposeSecret;

    /// Puts a value into one of the four layers, lowest first.
    fn put(sources: Sources, layer: usize, key: &str, value: &str) -> Sources {
        match layer {
            0 => sources.with_yaml("a.yaml", &format!("{}: '{value}'\n", key.to_ascii_lowercase())),
            1 => sources.with_dotenv(&format!("{PREFIX}{key}='{value}'\n")),
            2 => sources.with_environment(&format!("{PREFIX}{key}"), value),
            _ => sources.with_flag(&kebab(key), value),
        }
    }

    fn problems(sources: &Sources) -> String {
        Config::load(sources).expect_err("a fault").to_string()
    }

    #[test]
    fn the_highest_layer_with_a_value_wins_in_every_combination() {
        for present in 0..16_usize {
            let mut layers = (0..4).filter(|layer| present & (1 << layer) != 0);
            let sources = layers.clone().fold(Sources::default(), |sources, layer| {
                put(sources, layer, "MAX_CONNECTIONS", &(layer + 1).to_string())
            });
            let connections = Config::load(&sources).expect("sound").config.limits.connections;
            assert_eq!(connections, layers.next_back().map_or(10_000, |layer| layer + 1), "{present:04b}");
        }
    }

    #[test]
    fn a_higher_form_of_a_secret_beats_the_other_form_below() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, "from the file\n").expect("written");
        let path = path.to_str().expect("UTF-8");
        for low in 0..4 {
            for high in low + 1..4 {
                let file_above = put(Sources::default(), low, "API_KEY", "in place");
                let file_above = put(file_above, high, "API_KEY_FILE", path);
                let key = Config::load(&file_above).expect("sound").config.publish.api_key.expect("a key");
                assert!(matches!(key, Secret::File(_)), "{low} {high}");
                assert_eq!(key.read().expect("read").expose_secret(), "from the file");

                let text_above = put(Sources::default(), low, "API_KEY_FILE", path);
                let text_above = put(text_above, high, "API_KEY", "in place");
                let key = Config::load(&text_above).expect("sound").config.publish.api_key.expect("a key");
                assert!(matches!(key, Secret::Inline(_)), "{low} {high}");
            }
        }
    }

    #[test]
    fn both_forms_of_a_secret_in_one_layer_are_a_fault_unless_one_is_empty() {
        let environment = |value: &str, file: &str| {
            Sources::default()
                .with_environment("WEBSOCKET_SERVICE_API_KEY", value)
                .with_environment("WEBSOCKET_SERVICE_API_KEY_FILE", file)
        };
        let text = problems(&environment("hush", "/hush"));
        assert!(
            text.contains("is given twice")
                && text.contains("here and by environment WEBSOCKET_SERVICE_API_KEY;"),
            "{text}"
        );
        assert!(!text.contains("hush"), "{text}");
        for sources in [environment("key", ""), environment("", "Cargo.toml"), environment("", "")] {
            assert!(Config::load(&sources).is_ok());
        }
        let yaml = Sources::default().with_yaml("a.yaml", "api_key: a\napi_key_file: b\n");
        assert!(problems(&yaml).contains("(a.yaml: api_key_file)"));
    }

    #[test]
    fn an_empty_text_takes_an_optional_value_away_and_null_does_not() {
        let below = Sources::default().with_yaml("a.yaml", "jwt_issuer: them\nhost: null\n");
        assert_eq!(Config::load(&below).expect("sound").config.auth.issuer.as_deref(), Some("them"));
        let above = below.with_environment("WEBSOCKET_SERVICE_JWT_ISSUER", "");
        assert_eq!(Config::load(&above).expect("sound").config.auth.issuer, None);
        assert!(problems(&above.with_flag("port", "")).contains("PORT (not set): is empty"));
    }

    #[test]
    fn unknown_keys_name_the_nearest_without_their_value() {
        let cases = [
            ("HEARTBEAT_INTERVAL", "WEBSOCKET_HEARTBEAT_INTERVAL"),
            ("CHANNEL_PREFIX", "WEBSOCKET_CHANNEL_PREFIX"),
            ("CONNECTION_TIMEOUT", "WEBSOCKET_CONNECTION_TIMEOUT"),
            ("MAX_CONECTIONS", "MAX_CONNECTIONS"),
            ("JWT_SECRET", "JWT_SECRET_KEY"),
            ("JWT_SECRET_FILE", "JWT_SECRET_KEY_FILE"),
            ("PORT_FILE", "PORT"),
            ("REDIS_URI", "REDIS_URL"),
        ];
        for (key, nearest) in cases {
            let spelled = [
                nearest.to_ascii_lowercase(),
                format!("{PREFIX}{nearest}"),
                format!("{PREFIX}{nearest}"),
                format!("--{}", kebab(nearest)),
            ];
            for (layer, nearest) in spelled.iter().enumerate() {
                let text = problems(&put(Sources::default(), layer, key, "hush"));
                assert!(text.ends_with(&format!("the nearest one is {nearest}")), "{text}");
                assert!(!text.contains("hush"), "{text}");
            }
        }
        for text in ["PORT: 1", "max-connections: 1"] {
            assert!(problems(&Sources::default().with_yaml("a.yaml", text)).contains("no such setting"));
        }
    }

    #[test]
    fn service_links_are_passed_over_in_the_environment_only() {
        let links = [
            ("WEBSOCKET_SERVICE_SERVICE_HOST", "10.0.0.1"),
            ("WEBSOCKET_SERVICE_SERVICE_PORT", "8004"),
            ("WEBSOCKET_SERVICE_SERVICE_PORT_HTTP", "8004"),
            ("WEBSOCKET_SERVICE_PORT", "tcp://10.0.0.1:8004"),
            ("WEBSOCKET_SERVICE_PORT_8004_TCP", "tcp://10.0.0.1:8004"),
            ("WEBSOCKET_SERVICE_PORT_8004_TCP_ADDR", "10.0.0.1"),
            ("WEBSOCKET_SERVICE_PORT_8004_TCP_PORT", "8004"),
            ("WEBSOCKET_SERVICE_PORT_8004_TCP_PROTO", "tcp"),
        ];
        let environment =
            |sources: Sources, (variable, value): &(&str, &str)| sources.with_environment(variable, value);
        let sources = links.iter().fold(Sources::default().with_yaml("a.yaml", "port: 8100"), environment);
        let loaded = Config::load(&sources).expect("sound");
        assert_eq!(loaded.config.server.port, 8100);
        for (variable, value) in links {
            assert!(Config::load(&Sources::default().with_dotenv(&format!("{variable}={value}\n"))).is_err());
        }
    }

    #[test]
    fn yaml_takes_lists_and_scalars_but_no_text_that_looks_like_a_number() {
        let load = |text: &str| Config::load(&Sources::default().with_yaml("a.yaml", text));
        let text =
            "allowed_origins: ['https://a.example', 'https://b.example']\necho: off\nport: 1\nhost: '::1'\n";
        let config = load(text).expect("sound").config;
        assert_eq!(
            format!("{:?}", config.server.allowed_origins),
            r#"List(["https://a.example", "https://b.example"])"#
        );
        assert!(!config.session.echo);
        for text in
            ["api_key: 12345", "jwt_issuer: true", "port: [1]", "port: {a: 1}", "allowed_origins: [1]"]
        {
            assert!(load(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dotenv_ignores_others_and_tells_the_line_it_cannot_read() {
        let text = "\u{feff}OTHER=1\nWEBSOCKET_SERVICE_PORT=1\nWEBSOCKET_SERVICE_PORT=2 # the last one\n";
        let sources = Sources::default().with_dotenv(text);
        assert_eq!(Config::load(&sources).expect("sound").config.server.port, 2);
        let sources = Sources::default().with_dotenv("# first\nWEBSOCKET_SERVICE_API_KEY=hu sh\n");
        let text = problems(&sources);
        assert!(text.contains(".env: line 2 cannot be read") && !text.contains("sh;"), "{text}");
    }
}
