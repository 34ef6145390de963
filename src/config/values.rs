use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::choice::Choice;
use super::fault::{Fault, Problem, Source};
use super::layers::{Given, Layer, resolve};
use super::setting::{Form, Setting};
use super::source::Sources;
use super::table::SETTINGS;
use super::{AllowedOrigins, HostPort, KeySetUrl, Networks, Secret, jwks, parse, reach};

/// A setting in force: its value as given, and where that came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The setting.
    pub setting: &'static Setting,
    /// The value as text; `(hidden)` for a secret, none where it has no value.
    pub value: Option<String>,
    /// Where it came from.
    pub source: Source,
}

/// The texts of all settings, read into values one by one while faults gather.
pub(super) struct Values {
    given: Layer,
    otel: BTreeMap<String, String>,
    faults: Vec<Fault>,
    read: BTreeSet<&'static str>,
}

impl Values {
    pub(super) fn new(sources: &Sources) -> Self {
        let mut faults = Vec::new();
        let given = resolve(sources, &mut faults);
        Self { given, otel: sources.otel(), faults, read: BTreeSet::new() }
    }

    /// The settings in force, or everything that is wrong with them.
    pub(super) fn finish(mut self) -> Result<Vec<Origin>, Vec<Fault>> {
        debug_assert_eq!(self.read.len(), SETTINGS.len(), "every declared setting is read");
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let origin = |setting: &'static Setting| {
            let given = self.given.remove(setting.name);
            let source = given.as_ref().map_or(Source::Default, |given| given.source.clone());
            let value = given.filter(|given| !given.text.is_empty());
            let shown = |given: Given| if setting.is_secret() { "(hidden)".to_owned() } else { given.text };
            Origin { setting, value: value.map(shown), source }
        };
        Ok(SETTINGS.iter().map(origin).collect())
    }

    /// One of OpenTelemetry's variables.
    pub(super) fn otel(&self, variable: &str) -> Option<String> {
        self.otel.get(variable).cloned()
    }

    /// Adds a fault of one of them.
    pub(super) fn otel_fault(&mut self, variable: &str, problem: Problem) {
        let source = Source::Environment { variable: variable.to_owned() };
        self.faults.push(Fault::new(None, Some(source), problem));
    }

    /// Adds a fault of a setting, with the source of its value.
    pub(super) fn fault(&mut self, setting: &Setting, problem: Problem) {
        let source = self.source(setting);
        self.faults.push(Fault::new(Some(setting.name), source, problem));
    }

    /// Makes it a fault to give a setting without another.
    pub(super) fn needs(&mut self, setting: &Setting, other: &Setting, remedy: &str) {
        if self.source(setting).is_some() && self.source(other).is_none() {
            self.fault(setting, Problem::new(format!("needs {}", other.name), remedy));
        }
    }

    /// Where the setting's value came from; none where it has none.
    pub(super) fn source(&self, setting: &Setting) -> Option<Source> {
        self.given.get(setting.name).filter(|given| !given.text.is_empty()).map(|given| given.source.clone())
    }

    /// Whether none of these has a fault yet, so that a rule between them says something new.
    pub(super) fn sound(&self, settings: &[&Setting]) -> bool {
        let faulty = |setting: &&Setting| {
            self.faults.iter().any(|fault| fault.setting.as_deref() == Some(setting.name))
        };
        !settings.iter().any(faulty)
    }

    /// Gives a setting that nobody set a default that depends on other settings.
    pub(super) fn presume(&mut self, setting: &Setting, text: &str) {
        if self.source(setting).is_none() {
            let given = Given { text: text.to_owned(), form: Form::InPlace, source: Source::Default };
            self.given.insert(setting.name, given);
        }
    }

    /// The value, none if there is none or if it is bad, which is then a fault.
    fn value<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&Setting, &str) -> Result<T, Problem>,
    ) -> Option<T> {
        self.read.insert(setting.name);
        let text = self.given.get(setting.name)?.text.trim();
        if text.is_empty() && setting.is_optional() {
            return None;
        }
        let result = if text.is_empty() {
            Err(Problem::new(
                "is empty",
                format!("leave it out, or give what is allowed: {}", setting.values()),
            ))
        } else {
            parse(setting, text)
        };
        match result {
            Ok(value) => Some(value),
            Err(problem) => {
                self.fault(setting, problem);
                None
            }
        }
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self, setting: &'static Setting) -> Option<T> {
        let number = self.value(setting, parse::number)?;
        // The kind's bounds are narrower than the type; a test of the table's ends holds them to that.
        T::try_from(number).ok()
    }

    /// As a number, of which 0 is no limit.
    pub(super) fn limit<T: TryFrom<u64>>(&mut self, setting: &'static Setting) -> Option<T> {
        let number = self.value(setting, parse::number)?;
        if number == 0 { None } else { T::try_from(number).ok() }
    }

    pub(super) fn bytes(&mut self, setting: &'static Setting) -> Option<usize> {
        let count = self.value(setting, parse::bytes)?;
        usize::try_from(count).ok()
    }

    pub(super) fn seconds(&mut self, setting: &'static Setting) -> Option<Duration> {
        self.value(setting, parse::seconds)
    }

    pub(super) fn milliseconds(&mut self, setting: &'static Setting) -> Option<Duration> {
        self.value(setting, parse::number).map(Duration::from_millis)
    }

    pub(super) fn switch(&mut self, setting: &'static Setting) -> Option<bool> {
        self.value(setting, parse::switch)
    }

    pub(super) fn choice<T: Choice>(&mut self, setting: &'static Setting) -> Option<T> {
        self.value(setting, parse::choice)
    }

    pub(super) fn address(&mut self, setting: &'static Setting) -> Option<IpAddr> {
        self.value(setting, parse::address)
    }

    pub(super) fn text(&mut self, setting: &'static Setting) -> Option<String> {
        self.value(setting, parse::text)
    }

    pub(super) fn origins(&mut self, setting: &'static Setting) -> Option<AllowedOrigins> {
        self.value(setting, parse::origins)
    }

    pub(super) fn networks(&mut self, setting: &'static Setting) -> Option<Networks> {
        self.value(setting, parse::networks)
    }

    pub(super) fn key_sets(&mut self, setting: &'static Setting) -> Option<Vec<KeySetUrl>> {
        self.value(setting, |_, text| jwks::key_sets(text))
    }

    /// Those without a port listen at `port`.
    pub(super) fn servers(&mut self, setting: &'static Setting, port: u16) -> Option<Vec<HostPort>> {
        self.value(setting, |_, text| reach::servers(text, port))
    }

    pub(super) fn folder(&mut self, setting: &'static Setting) -> Option<PathBuf> {
        self.value(setting, |_, text| match std::fs::read_dir(text) {
            Ok(_) => Ok(PathBuf::from(text)),
            Err(error) => {
                Err(Problem::new(format!("cannot be read: {error}"), "give a folder that this user can read"))
            }
        })
    }

    /// A secret that can be read now and that `check` lets pass.
    ///
    /// Its text is not trimmed, and a path that cannot be read is not shown: whoever gives the secret itself in the
    /// `_FILE` form would find it in the log.
    pub(super) fn secret(
        &mut self,
        setting: &'static Setting,
        check: impl Fn(&str) -> Result<(), Problem>,
    ) -> Option<Secret> {
        self.read.insert(setting.name);
        let given = self.given.get(setting.name).filter(|given| !given.text.is_empty())?;
        let secret = match given.form {
            Form::InPlace => Secret::inline(given.text.clone()),
            Form::File => Secret::File(PathBuf::from(&given.text)),
        };
        let result = text_of(&secret).and_then(|text| check(text.expose_secret()));
        match result {
            Ok(()) => Some(secret),
            Err(problem) => {
                self.fault(setting, problem);
                None
            }
        }
    }
}

fn text_of(secret: &Secret) -> Result<SecretString, Problem> {
    let text = secret.read().map_err(|error| {
        let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Problem::new(
            format!("its file cannot be read: {reason}"),
            "give the path of a file this user can read",
        )
    })?;
    if text.expose_secret().trim().is_empty() {
        return Err(Problem::new("is empty", "put the secret there, or leave the setting out"));
    }
    Ok(text)
}
