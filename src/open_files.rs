//! The process's limit of open files, of which each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit as far as the process may, and returns what holds then; `None` is no limit.
///
/// Container runtimes leave the soft limit at 1,024 for the sake of programs that still use `select`, with a hard limit
/// far above it.
#[must_use]
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Refused where a sandbox forbids the call; then what was holds.
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}
