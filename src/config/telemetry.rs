use super::choice::Choice;
use super::values::Values;
use super::{Environment, table};

/// Least level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the usual levels")]
pub enum LogLevel {
    Trace,
    Debug,
    #[default]
    Info,
    Warning,
    Error,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For a person; the default in development.
    #[default]
    Text,
    /// One JSON object a line; the default elsewhere.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, Default)]
pub struct TelemetryConfig {
    /// `LOG_LEVEL`; changed at run time by `PUT /log-level`.
    pub level: LogLevel,
    /// `LOG_FORMAT`.
    pub format: LogFormat,
}

impl TelemetryConfig {
    pub(super) fn read(values: &mut Values, environment: Environment) -> Self {
        let format = if environment == Environment::Development { LogFormat::Text } else { LogFormat::Json };
        values.presume(&table::LOG_FORMAT, format.name());
        Self {
            level: values.choice(&table::LOG_LEVEL).unwrap_or_default(),
            format: values.choice(&table::LOG_FORMAT).unwrap_or(format),
        }
    }
}
