/// What was last logged of something that works or does not, so that each change is told once.
#[derive(Debug, Default)]
pub(super) struct Told(Option<Result<(), String>>);

impl Told {
    /// Whether this is new: it works again, it fails now, or it fails for another reason.
    pub(super) fn is_new<E: ToString>(&mut self, outcome: Result<(), &E>) -> bool {
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
}
