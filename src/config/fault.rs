use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// The YAML file of `--config`.
    Yaml {
        /// The file, as named on the command line.
        file: String,
        /// The key; empty for the file as a whole.
        key: String,
    },
    /// A `.env` file.
    Dotenv {
        /// The variable; empty for the file as a whole.
        variable: String,
    },
    /// The environment.
    Environment {
        /// The variable, with its prefix.
        variable: String,
    },
    /// The command line.
    Flag {
        /// The flag, without its dashes.
        flag: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Yaml { file, key } if key.is_empty() => f.write_str(file),
            Self::Yaml { file, key } => write!(f, "{file}: {key}"),
            Self::Dotenv { variable } if variable.is_empty() => f.write_str(".env"),
            Self::Dotenv { variable } => write!(f, ".env {variable}"),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::Flag { flag } => write!(f, "flag --{flag}"),
        }
    }
}

/// What is wrong with a value, and what to do. Never holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl Problem {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

/// One thing that is wrong with the configuration. Never holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting (`PORT`), or the key as given where it is unknown; none where a whole source cannot be read.
    pub setting: Option<String>,
    /// Where the value came from; none where there is no value.
    pub source: Option<Source>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Fault {
    pub(super) fn new(setting: Option<&str>, source: Option<Source>, problem: Problem) -> Self {
        let Problem { problem, remedy } = problem;
        Self { setting: setting.map(str::to_owned), source, problem, remedy }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.setting, &self.source) {
            (Some(setting), Some(source)) => write!(f, "{setting} ({source})")?,
            (Some(setting), None) => write!(f, "{setting} (not set)")?,
            (None, Some(source)) => write!(f, "{source}")?,
            (None, None) => f.write_str("configuration")?,
        }
        write!(f, ": {}; {}", self.problem, self.remedy)
    }
}

/// Everything that is wrong with the configuration; shown as one fault a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// The faults, at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("bad configuration, 1 fault:")?,
            count => write!(f, "bad configuration, {count} faults:")?,
        }
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// A value of no secret, shown in quotes, escaped and shortened.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
