use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::fault::{Fault, Problem, Source};
use super::setting::PREFIX;

/// Longest `--config` or `.env` file, in bytes; a longer one is the wrong file.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Before the standard variables of OpenTelemetry, of which some decide how tracing is built.
const OTEL: &str = "OTEL_";

/// Everything settings are read from, as plain values, so that tests need no process environment.
#[derive(Clone, Default)]
pub struct Sources {
    pub(super) flags: Vec<(String, String)>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) dotenv: Option<String>,
    pub(super) yaml: Option<(String, String)>,
    /// What could not even be read; reported with all other faults.
    pub(super) faults: Vec<Fault>,
}

impl Sources {
    /// Adds a flag, named without its dashes: `max-connections`.
    #[must_use]
    pub fn with_flag(mut self, flag: &str, value: &str) -> Self {
        self.flags.push((flag.to_owned(), value.to_owned()));
        self
    }

    /// Adds a variable of the environment, with its prefix, or one of OpenTelemetry's; others are not looked at.
    #[must_use]
    pub fn with_environment(mut self, variable: &str, value: &str) -> Self {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// OpenTelemetry's variables; an empty one is none, as the standard says.
    pub(super) fn otel(&self) -> BTreeMap<String, String> {
        let ours =
            self.environment.iter().filter(|(name, value)| name.starts_with(OTEL) && !value.is_empty());
        ours.cloned().collect()
    }

    /// Sets the text of the `.env` file.
    #[must_use]
    pub fn with_dotenv(mut self, text: &str) -> Self {
        self.dotenv = Some(text.to_owned());
        self
    }

    /// Sets the text of the YAML file, and the name it is known by in faults.
    #[must_use]
    pub fn with_yaml(mut self, file: &str, text: &str) -> Self {
        self.yaml = Some((file.to_owned(), text.to_owned()));
        self
    }

    /// Reads this process's environment, `.env` in the working directory if there is one, and the `--config` file.
    /// What cannot be read becomes a fault of [`super::Config::load`].
    #[must_use]
    pub fn from_process(flags: Vec<(String, String)>, config: Option<&Path>) -> Self {
        let mut sources = Self { flags, ..Self::default() };
        sources.read_environment();
        let dotenv = Path::new(".env");
        match read_bounded(dotenv) {
            Ok(text) => sources.dotenv = Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => sources.unreadable(Source::Dotenv { variable: String::new() }, &error),
        }
        if let Some(path) = config {
            let file = path.display().to_string();
            match read_bounded(path) {
                Ok(text) => sources.yaml = Some((file, text)),
                Err(error) => sources.unreadable(Source::Yaml { file, key: String::new() }, &error),
            }
        }
        sources
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where settings meet the process environment"
    )]
    fn read_environment(&mut self) {
        for (variable, value) in std::env::vars_os() {
            let variable = variable.to_string_lossy().into_owned();
            if variable.starts_with(PREFIX) || variable.starts_with(OTEL) {
                self.add_variable(variable, &value);
            }
        }
        // The process's order is arbitrary; faults should come in the same order at every start.
        self.environment.sort();
    }

    fn add_variable(&mut self, variable: String, value: &OsStr) {
        if let Some(value) = value.to_str() {
            self.environment.push((variable, value.to_owned()));
        } else {
            let name = variable.strip_prefix(PREFIX).unwrap_or(&variable).to_owned();
            let problem = Problem::new("the value is not UTF-8", "give it as UTF-8");
            self.faults.push(Fault::new(Some(&name), Some(Source::Environment { variable }), problem));
        }
    }

    fn unreadable(&mut self, source: Source, error: &io::Error) {
        let problem = Problem::new(format!("cannot be read: {error}"), "check the path and its permissions");
        self.faults.push(Fault::new(None, Some(source), problem));
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("over {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_bound_is_refused_without_reading_it_whole() {
        let error = read_bounded(Path::new("/dev/zero")).expect_err("endless");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_no_text_is_a_fault_without_its_value() {
        use std::os::unix::ffi::OsStrExt;
        let mut sources = Sources::default();
        sources.add_variable(format!("{PREFIX}API_KEY"), OsStr::from_bytes(b"hush\xff"));
        let [fault] = sources.faults.as_slice() else { panic!("one fault") };
        assert_eq!(
            fault.to_string(),
            "API_KEY (environment WEBSOCKET_SERVICE_API_KEY): the value is not UTF-8; give it as UTF-8"
        );
    }

    #[test]
    fn a_missing_config_file_is_a_fault_that_names_it() {
        let sources = Sources::from_process(Vec::new(), Some(Path::new("no/such.yaml")));
        assert!(
            sources.faults.iter().any(|fault| fault.to_string().starts_with("no/such.yaml: cannot be read"))
        );
    }
}
