/// Stands in place of what is not shown.
const REDACTED: &str = "[redacted]";

/// Longest value that is shown, in bytes. An HS256 signature alone, in base64, fills most of it, so no whole JWT fits.
const MAX_SHOWN_VALUE: usize = 64;

/// Longest name that is shown, in bytes.
const MAX_SHOWN_NAME: usize = 32;

/// A query string for access logs: what could be a token, or hide one, is replaced.
///
/// A pair is shown whole only if it is plain: name and value short, of unreserved characters, and the name does not
/// speak of a token or a key, in any case of its letters. Anything with an escape in it goes, whatever it decodes to, so that no spelling of
/// `token` and no second decoding further down the line can bring one back. The result is one line of ASCII.
#[must_use]
pub fn redact_query(query: &str) -> String {
    let pairs: Vec<String> = query.split('&').map(redact_pair).collect();
    pairs.join("&")
}

fn redact_pair(pair: &str) -> String {
    let (name, value) = match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    };
    if name.len() > MAX_SHOWN_NAME || !is_plain(name) {
        return REDACTED.to_owned();
    }
    match value {
        None => name.to_owned(),
        Some(value) if value.len() <= MAX_SHOWN_VALUE && is_plain(value) && !speaks_of_secret(name) => {
            format!("{name}={value}")
        }
        Some(_) => format!("{name}={REDACTED}"),
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':'))
}

fn speaks_of_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "jwt", "key", "secret", "auth"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shows_what_is_plain() {
        for query in [
            "",
            "last_event_id=1700000000000-0",
            "a=1&b&c=",
            "correlation_id=6f0c2d3e-5a55-4c93-9d51-0f6f4a7b8c9d",
        ] {
            assert_eq!(redact_query(query), query);
        }
    }

    #[test]
    fn hides_tokens_under_every_spelling_of_the_name() {
        assert_eq!(redact_query("a=1&token=x&b=2"), "a=1&token=[redacted]&b=2");
        for query in [
            "token=sesame",
            "TOKEN=sesame",
            "ToKeN=sesame",
            "t%6Fken=sesame",
            "%54%4f%4B%45%4e=sesame",
            "t%256Fken=sesame",
            "+token=sesame",
            " token=sesame",
            "a=b;token=sesame",
            "access_token=sesame",
            "token==sesame",
            "token=a=sesame",
            "t%6=sesame",
            "tok\u{0}en=sesame",
            "a=%73esame%",
            "sesame%3Dtoken",
            "jwt=sesame",
        ] {
            assert!(!redact_query(query).contains("sesame"), "{query:?}: {}", redact_query(query));
        }
    }

    #[test]
    fn hides_a_token_under_any_name_and_as_a_name() {
        let jwt = format!("eyJhbGciOiJIUzI1NiJ9.e30.{}", "x".repeat(43));
        for query in [format!("t={jwt}"), jwt.clone(), format!("{jwt}=1")] {
            assert!(!redact_query(&query).contains("eyJ"), "{query}");
        }
    }

    proptest! {
        #[test]
        fn makes_one_line_of_plain_ascii(query in "(\\PC|\n|\r|&|=|%){0,200}") {
            let shown = redact_query(&query);
            prop_assert!(shown.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{shown:?}");
            prop_assert!(!shown.contains('%'));
        }
    }
}
