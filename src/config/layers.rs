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
            faults.push(unknown(&key, source(key.clone()), |name| name.to_ascii_lowercase()));
            continue;
        };
        let text = match (node, setting.kind) {
            (Node::Null, _) => continue,
            (Node::Text(text), _) | (Node::List(text), Kind::Origins) => Ok(text),
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
