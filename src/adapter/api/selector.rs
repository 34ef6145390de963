//! Label selectors as they stand in a query: `app=ws,tier in (a,b),!canary`.
//!
//! The kube crate matches selectors and writes them, but does not read them.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector};

/// Longest name or value, in bytes: a prefix of 253, a slash and a name of 63.
const MAX_WORD_BYTES: usize = 317;

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Something else stands where this should.
    #[error("{0} expected at byte {1}")]
    Expected(&'static str, usize),
    /// `<` and `>`, which only node affinity needs.
    #[error("numbers are not compared: {0:?} at byte {1}")]
    Comparison(char, usize),
    /// A name or value that no label can have.
    #[error("the word at byte {0} is longer than {MAX_WORD_BYTES} bytes")]
    TooLong(usize),
}

/// Reads a selector in the grammar of Kubernetes, without its comparison of numbers. An empty one selects all.
///
/// # Errors
/// [`SelectorError`], with where it is.
pub fn parse(text: &str) -> Result<Selector, SelectorError> {
    let mut reader = Reader { text, at: 0 };
    let mut selector = Selector::default();
    reader.skip_space();
    if reader.rest().is_empty() {
        return Ok(selector);
    }
    loop {
        selector.extend(reader.requirement()?);
        reader.skip_space();
        if reader.rest().is_empty() {
            return Ok(selector);
        }
        reader.expect(",")?;
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn accept(&mut self, token: &str) -> bool {
        self.skip_space();
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    fn expect(&mut self, token: &'static str) -> Result<(), SelectorError> {
        if self.accept(token) { Ok(()) } else { Err(SelectorError::Expected(token, self.at)) }
    }

    /// A name or a value; may be empty.
    fn word(&mut self) -> Result<String, SelectorError> {
        self.skip_space();
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let rest = self.rest();
        let word = &rest[..rest.find(|c| !part(c)).unwrap_or(rest.len())];
        if word.len() > MAX_WORD_BYTES {
            return Err(SelectorError::TooLong(self.at));
        }
        self.at += word.len();
        Ok(word.to_owned())
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let key = self.word()?;
        if key.is_empty() { Err(SelectorError::Expected("a label's name", self.at)) } else { Ok(key) }
    }

    fn requirement(&mut self) -> Result<Expression, SelectorError> {
        if self.accept("!") {
            return Ok(Expression::DoesNotExist(self.key()?));
        }
        let key = self.key()?;
        // The longer operators first: `==` begins with `=`.
        if self.accept("!=") {
            return Ok(Expression::NotEqual(key, self.word()?));
        }
        if self.accept("==") || self.accept("=") {
            return Ok(Expression::Equal(key, self.word()?));
        }
        self.skip_space();
        match self.rest().chars().next() {
            None | Some(',') => return Ok(Expression::Exists(key)),
            Some(c @ ('<' | '>')) => return Err(SelectorError::Comparison(c, self.at)),
            Some(_) => {}
        }
        let at = self.at;
        match self.word()?.as_str() {
            "in" => Ok(Expression::In(key, self.set()?)),
            "notin" => Ok(Expression::NotIn(key, self.set()?)),
            _ => Err(SelectorError::Expected("an operator or a comma", at)),
        }
    }

    fn set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.expect("(")?;
        let mut values = BTreeSet::from([self.word()?]);
        while self.accept(",") {
            values.insert(self.word()?);
        }
        self.expect(")")?;
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::SelectorExt;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn selects_as_kubernetes_does() {
        let pod = labels(&[("app.kubernetes.io/name", "ws"), ("tier", "a"), ("empty", "")]);
        for (selector, selected) in [
            ("", true),
            ("  ", true),
            ("app.kubernetes.io/name=ws,tier=a", true),
            ("app.kubernetes.io/name == ws , tier != b", true),
            ("tier=b", false),
            ("tier!=a", false),
            ("absent!=a", true),
            ("tier", true),
            ("absent", false),
            ("!absent", true),
            ("! tier", false),
            ("tier in (b, a)", true),
            ("tier in (b)", false),
            ("tier notin (b,c)", true),
            ("absent notin (b)", true),
            ("absent in ()", false),
            ("empty=", true),
            ("empty in ()", true),
            ("in in (a)", false),
            ("notin", false),
        ] {
            let parsed = parse(selector).unwrap_or_else(|error| panic!("{selector:?}: {error}"));
            assert_eq!(parsed.matches(&pod), selected, "{selector:?}");
        }
    }

    #[test]
    fn says_where_a_selector_breaks() {
        for (selector, error) in [
            (",", SelectorError::Expected("a label's name", 0)),
            ("a=b,", SelectorError::Expected("a label's name", 4)),
            ("=b", SelectorError::Expected("a label's name", 0)),
            ("a=b c", SelectorError::Expected(",", 4)),
            ("a on (b)", SelectorError::Expected("an operator or a comma", 2)),
            ("a in b", SelectorError::Expected("(", 5)),
            ("a in (b", SelectorError::Expected(")", 7)),
            ("a>1", SelectorError::Comparison('>', 1)),
            ("a=\u{e4}", SelectorError::Expected(",", 2)),
        ] {
            assert_eq!(parse(selector), Err(error), "{selector:?}");
        }
        assert_eq!(parse(&"a".repeat(MAX_WORD_BYTES + 1)), Err(SelectorError::TooLong(0)));
    }

    fn expression() -> impl Strategy<Value = Expression> {
        let word = "[a-z][a-z0-9./_-]{0,12}";
        let set = proptest::collection::btree_set("[a-z0-9._-]{0,8}", 1..4);
        prop_oneof![
            (word, "[a-z0-9.-]{0,8}").prop_map(|(key, value)| Expression::Equal(key, value)),
            (word, "[a-z0-9.-]{0,8}").prop_map(|(key, value)| Expression::NotEqual(key, value)),
            (word, set.clone()).prop_map(|(key, values)| Expression::In(key, values)),
            (word, set).prop_map(|(key, values)| Expression::NotIn(key, values)),
            word.prop_map(Expression::Exists),
            word.prop_map(Expression::DoesNotExist),
        ]
    }

    proptest! {
        #[test]
        fn reads_what_the_kube_crate_writes(expressions in proptest::collection::vec(expression(), 0..5)) {
            let mut selector = Selector::default();
            selector.extend(expressions);
            prop_assert_eq!(parse(&selector.to_string()), Ok(selector));
        }

        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
