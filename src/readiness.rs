//! Whether the pod should get new connections, and by name why not.

use std::fmt;

/// One thing that has to be right.
struct Check {
    name: &'static str,
    passes: Box<dyn Fn() -> bool + Send + Sync>,
}

/// The named checks of this pod. It is ready when all pass.
#[derive(Default)]
pub struct Readiness {
    checks: Vec<Check>,
}

impl Readiness {
    /// Adds a check; it is asked at every probe, so it only looks.
    #[must_use]
    pub fn with(mut self, name: &'static str, passes: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.checks.push(Check { name, passes: Box::new(passes) });
        self
    }

    /// The names of the checks that do not pass, in the order in which they were added.
    #[must_use]
    pub fn reasons(&self) -> Vec<&'static str> {
        self.checks.iter().filter(|check| !(check.passes)()).map(|check| check.name).collect()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("reasons", &self.reasons()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn names_what_is_missing() {
        let up = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&up);
        let readiness = Readiness::default()
            .with("starting", || true)
            .with("backplane", move || asked.load(Ordering::Relaxed));
        assert_eq!(readiness.reasons(), ["backplane"]);
        up.store(true, Ordering::Relaxed);
        assert!(readiness.reasons().is_empty());
    }
}
