//! Logging what goes wrong once and not at each attempt.

/// What was last logged of something that works or does not, so that each change is told once.
///
/// By default nothing was told yet, so the first success is told too.
#[derive(Debug, Default)]
pub struct Told(Option<Result<(), String>>);

impl Told {
    /// What is taken to work until it fails: a success is told only after a failure.
    #[must_use]
    pub fn working() -> Self {
        Self(Some(Ok(())))
    }

    /// Whether this is new: it works again, it fails now, or it fails for another reason.
    pub fn is_new<E: ToString>(&mut self, outcome: Result<(), &E>) -> bool {
        let outcome = outcome.map_err(ToString::to_string);
        let new = self.0.as_ref() != Some(&outcome);
        if new {
            self.0 = Some(outcome);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let mut told = Told::default();
        let outcomes = [Err(&"a"), Err(&"a"), Err(&"b"), Ok(()), Ok(()), Err(&"b"), Ok(())];
        let new: Vec<bool> = outcomes.into_iter().map(|outcome| told.is_new::<&str>(outcome)).collect();
        assert_eq!(new, [true, false, true, true, false, true, true]);
    }

    #[test]
    fn what_works_is_told_only_after_a_failure() {
        let mut told = Told::working();
        let new = [Ok(()), Err(&"a"), Err(&"a"), Ok(()), Ok(())].map(|outcome| told.is_new::<&str>(outcome));
        assert_eq!(new, [false, true, false, true, false]);
    }
}
