use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::config::{Choice, LogLevel};

/// Most modules with a level of their own; more is a mistake, not a need.
const MAX_MODULES: usize = 64;

/// The crate's modules, the only ones that can have a level of their own. The libraries stay at warnings: some of them
/// log request lines below that, and with them tokens.
const OWN: &str = "websocket_service";

/// Why a level is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// The level's name is unknown.
    #[error("level is one of TRACE, DEBUG, INFO, WARNING, ERROR")]
    Level,
    /// The module is not this program's.
    #[error("module is {OWN} or one of its modules, such as {OWN}::session")]
    Module,
    /// Too many modules have a level of their own.
    #[error("at most {MAX_MODULES} modules can have a level of their own")]
    TooMany,
}

type Apply = Box<dyn Fn(String) + Send + Sync>;

/// The levels in force, changed at run time.
pub struct Levels {
    state: Mutex<(LogLevel, Vec<(String, LogLevel)>)>,
    left_out: Arc<AtomicU64>,
    apply: Option<Apply>,
}

impl Levels {
    pub(super) fn new(level: LogLevel, left_out: Arc<AtomicU64>, apply: Option<Apply>) -> Self {
        Self { state: Mutex::new((level, Vec::new())), left_out, apply }
    }

    /// How many lines were left out since this was last asked, because there were too many of their kind.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }

    /// Levels that change nothing, for a service whose log is somebody else's: a test's.
    #[must_use]
    pub fn detached() -> Self {
        Self::new(LogLevel::default(), Arc::default(), None)
    }

    /// Sets the level of everything, or of one module and those below it. Setting the level of everything forgets
    /// those of modules. Returns the directives in force.
    ///
    /// # Errors
    /// [`LevelError`] when the level or module is unknown.
    pub fn set(&self, level: &str, module: Option<&str>) -> Result<String, LevelError> {
        let level = LogLevel::parse(level).ok_or(LevelError::Level)?;
        let mut state = self.state.lock();
        match module {
            None => *state = (level, Vec::new()),
            Some(module) => {
                let known =
                    module == OWN || module.strip_prefix(OWN).is_some_and(|rest| rest.starts_with("::"));
                if !known || !module.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':') {
                    return Err(LevelError::Module);
                }
                let modules = &mut state.1;
                match modules.iter().position(|(name, _)| name == module) {
                    Some(index) => modules[index].1 = level,
                    None if modules.len() == MAX_MODULES => return Err(LevelError::TooMany),
                    None => modules.push((module.to_owned(), level)),
                }
            }
        }
        let directives = directives(state.0, &state.1);
        drop(state);
        if let Some(apply) = &self.apply {
            apply(directives.clone());
        }
        Ok(directives)
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Levels").field(&*self.state.lock()).finish()
    }
}

/// The filter's text.
pub(super) fn directives(level: LogLevel, modules: &[(String, LogLevel)]) -> String {
    let others = if level == LogLevel::Error { "error" } else { "warn" };
    let mut text = format!("{others},{OWN}={}", name(level));
    for (module, level) in modules {
        text.push_str(&format!(",{module}={}", name(*level)));
    }
    text
}

/// The filter's own name for a level: it knows no `WARNING`.
fn name(level: LogLevel) -> String {
    if level == LogLevel::Warning { "warn".to_owned() } else { level.name().to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_s_level_stands_beside_the_general_one_until_that_is_set() {
        let levels = Levels::detached();
        assert_eq!(levels.set("error", None).as_deref(), Ok("error,websocket_service=error"));
        let with_module = levels.set("debug", Some("websocket_service::session"));
        assert_eq!(
            with_module.as_deref(),
            Ok("error,websocket_service=error,websocket_service::session=debug")
        );
        assert_eq!(levels.set("Warning", None).as_deref(), Ok("warn,websocket_service=warn"));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let levels = Levels::detached();
        assert_eq!(levels.set("loud", None), Err(LevelError::Level));
        for module in ["hyper", "websocket_serviceable", "websocket_service::a=trace,hyper", ""] {
            assert_eq!(levels.set("trace", Some(module)), Err(LevelError::Module), "{module}");
        }
        for n in 0..MAX_MODULES {
            assert!(levels.set("info", Some(&format!("websocket_service::m{n}"))).is_ok());
        }
        assert_eq!(levels.set("info", Some("websocket_service::more")), Err(LevelError::TooMany));
    }
}
