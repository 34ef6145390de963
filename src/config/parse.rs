//! From a value's text to the value. Each function knows what its kind allows; none ever shows a secret.

use std::net::IpAddr;
use std::time::Duration;

use super::choice::Choice;
use super::fault::{Problem, quoted};
use super::setting::{Kind, Setting};
use super::{AllowedOrigins, Networks};

type Parsed<T> = Result<T, Problem>;

fn bad(setting: &Setting, text: &str, what: &str) -> Problem {
    Problem::new(format!("{} {what}", quoted(text)), format!("allowed: {}", setting.values()))
}

pub(super) fn number(setting: &Setting, text: &str) -> Parsed<u64> {
    let (min, max) = match setting.kind {
        Kind::Number(min, max) => (min, max),
        Kind::Limit(max) | Kind::Milliseconds(max) => (0, max),
        _ => (0, u64::MAX),
    };
    match text.parse::<u64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        Ok(_) => Err(bad(setting, text, "is out of bounds")),
        Err(_) => Err(bad(setting, text, "is no whole number within bounds")),
    }
}

pub(super) fn bytes(setting: &Setting, text: &str) -> Parsed<u64> {
    let (min, max) = if let Kind::Bytes(min, max) = setting.kind { (min, max) } else { (0, u64::MAX) };
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].trim_start();
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    };
    let count = factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    match count {
        Some(count) if (min..=max).contains(&count) => Ok(count),
        Some(_) => Err(bad(setting, text, "is out of bounds")),
        None => Err(bad(setting, text, "is no number of bytes")),
    }
}

pub(super) fn seconds(setting: &Setting, text: &str) -> Parsed<Duration> {
    let (min, max) = if let Kind::Seconds(min, max) = setting.kind { (min, max) } else { (0, 0) };
    // `f64` would take signs, exponents, `inf` and `nan` as well.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let duration = text.parse().ok().filter(|_| plain).map(Duration::try_from_secs_f64);
    match duration {
        Some(Ok(duration))
            if (Duration::from_millis(min)..=Duration::from_millis(max)).contains(&duration) =>
        {
            Ok(duration)
        }
        Some(_) => Err(bad(setting, text, "is out of bounds")),
        None => Err(bad(setting, text, "is no number of seconds")),
    }
}

pub(super) fn switch(setting: &Setting, text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(bad(setting, text, "is neither on nor off")),
    }
}

pub(super) fn choice<T: Choice>(setting: &Setting, text: &str) -> Parsed<T> {
    T::parse(text).ok_or_else(|| bad(setting, text, "is none of the choices"))
}

pub(super) fn address(setting: &Setting, text: &str) -> Parsed<IpAddr> {
    text.parse().map_err(|_| bad(setting, text, "is no IP address"))
}

pub(super) fn text(setting: &Setting, text: &str) -> Parsed<String> {
    let max = if let Kind::Text(max) = setting.kind { max } else { usize::MAX };
    if text.len() > max {
        return Err(bad(setting, text, "is too long"));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(setting, text, "holds a control character"));
    }
    Ok(text.to_owned())
}

pub(super) fn networks(setting: &Setting, text: &str) -> Parsed<Networks> {
    Networks::parse(text).map_err(|entry| bad(setting, entry, "is neither an IP address nor a network"))
}

/// `*`, a JSON list, or a list separated by commas.
pub(super) fn origins(setting: &Setting, text: &str) -> Parsed<AllowedOrigins> {
    let entries: Vec<String> = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|_| bad(setting, text, "is no JSON list of texts"))?
    } else {
        text.split(',').map(|entry| entry.trim().to_owned()).collect()
    };
    if entries == ["*"] {
        return Ok(AllowedOrigins::Any);
    }
    entries.iter().try_for_each(|entry| origin(entry))?;
    Ok(AllowedOrigins::List(entries))
}

/// Refuses what no browser's `Origin` can ever equal.
fn origin(entry: &str) -> Parsed<()> {
    let refuse = |what: &str, remedy: &str| Err(Problem::new(format!("{} {what}", quoted(entry)), remedy));
    if entry == "*" {
        return refuse("stands for all origins", "give it alone, or leave it out");
    }
    if entry.contains('*') {
        return refuse("holds a wildcard, which is not supported", "list each origin, or give `*` alone");
    }
    if entry.ends_with('/') {
        return refuse("ends with a slash, as no browser's Origin does", "leave the slash out");
    }
    let uri = entry.parse::<http::Uri>().ok();
    let parts =
        uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?, uri.path_and_query())));
    let Some((scheme, authority, rest)) = parts else {
        return refuse("is no origin", "give scheme://host or scheme://host:port");
    };
    if rest.is_some_and(|rest| rest != "/") || authority.as_str().contains('@') || entry.contains('#') {
        return refuse("is more than an origin", "leave out path, query and user");
    }
    match (scheme.to_ascii_lowercase().as_str(), authority.port_u16()) {
        _ if authority.host().is_empty() => refuse("has no host", "give scheme://host or scheme://host:port"),
        (_, None) if authority.as_str().len() != authority.host().len() => {
            refuse("has no valid port", "give a port from 1 to 65535, or leave the colon out")
        }
        ("http", Some(80)) | ("https", Some(443)) => {
            refuse("names its scheme's own port, as no browser's Origin does", "leave the port out")
        }
        _ => Ok(()),
    }
}

/// Whether a Redis client can make sense of the URL.
pub(super) fn redis_url(url: &str) -> Parsed<()> {
    use redis::IntoConnectionInfo;
    const REMEDY: &str = "give redis://[user:password@]host[:port][/database], or rediss:// for TLS";
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return Err(Problem::new("does not begin with redis:// or rediss://", REMEDY));
    }
    // The client's own error quotes the URL, with its password.
    match url.into_connection_info() {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::new("is no valid Redis URL", REMEDY)),
    }
}

/// The number of the database that a URL names; 0 where it names none.
pub(super) fn redis_database(url: &str) -> i64 {
    use redis::IntoConnectionInfo;
    url.into_connection_info().map_or(0, |info| info.redis_settings().db())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table;

    #[test]
    fn seconds_are_plain_decimals_within_bounds() {
        let parse = |text| seconds(&table::WEBSOCKET_HEARTBEAT_INTERVAL, text).ok();
        assert_eq!(parse("30"), Some(Duration::from_secs(30)));
        assert_eq!(parse("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(parse("3600"), Some(Duration::from_secs(3600)));
        for text in ["0", "-1", "3600.1", "1e3", "inf", "nan", "30s", "1_000", ".", "1.2.3", "0.0001", "+1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(seconds(&table::DRAIN_SPREAD_SECONDS, "0"), Ok(Duration::ZERO));
    }

    #[test]
    fn bytes_are_plain_or_with_a_binary_unit() {
        let parse = |text| bytes(&table::OUTBOX_BYTES, text).ok();
        for (text, count) in [("1", 1), ("64KiB", 65_536), ("1 mib", 1 << 20), ("1GiB", 1 << 30), ("7B", 7)] {
            assert_eq!(parse(text), Some(count), "{text}");
        }
        for text in [
            "0",
            "1MB",
            "1k",
            "KiB",
            "1.5MiB",
            "2GiB",
            "99999999999999999999",
            "18446744073709551615GiB",
            "é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn switches_and_choices_are_taken_in_any_case() {
        for (text, value) in
            [("TRUE", true), ("yes", true), ("On", true), ("0", false), ("False", false), ("off", false)]
        {
            assert_eq!(switch(&table::ECHO, text), Ok(value));
        }
        assert!(switch(&table::ECHO, "y").is_err());
        for text in ["warn", "WARNING", "Warning"] {
            assert_eq!(choice(&table::LOG_LEVEL, text), Ok(crate::config::LogLevel::Warning));
        }
        let problem = choice::<crate::config::LogLevel>(&table::LOG_LEVEL, "loud").expect_err("unknown");
        assert_eq!(problem.problem, r#""loud" is none of the choices"#);
        assert!(problem.remedy.contains("`WARN`"), "{problem:?}");
    }

    #[test]
    fn origins_come_as_star_json_or_commas() {
        let parse = |text| origins(&table::ALLOWED_ORIGINS, text);
        let list =
            |entries: &[&str]| Ok(AllowedOrigins::List(entries.iter().map(|e| (*e).to_owned()).collect()));
        assert_eq!(parse("*"), Ok(AllowedOrigins::Any));
        assert_eq!(parse(r#"["*"]"#), Ok(AllowedOrigins::Any));
        assert_eq!(parse("[]"), list(&[]));
        assert_eq!(
            parse("https://a.example, http://[::1]:3000"),
            list(&["https://a.example", "http://[::1]:3000"])
        );
        assert_eq!(parse(r#"["capacitor://localhost"]"#), list(&["capacitor://localhost"]));
    }

    #[test]
    fn what_no_origin_can_equal_is_refused_with_its_reason() {
        let cases = [
            ("https://a.example/", "slash"),
            ("https://a.example/app", "more than an origin"),
            ("https://a.example?x", "more than an origin"),
            ("https://a.example#x", "more than an origin"),
            ("https://me@a.example", "more than an origin"),
            ("https://*.a.example", "wildcard"),
            ("*,https://a.example", "stands for all"),
            ("https://a.example:443", "own port"),
            ("http://a.example:80", "own port"),
            ("https://a.example:99999", "port"),
            ("https://a.example:", "port"),
            ("a.example", "no origin"),
            ("null", "no origin"),
            ("https://a.example,,https://b.example", "no origin"),
            ("https://", "slash"),
            ("[1]", "JSON"),
            ("[", "JSON"),
        ];
        for (text, part) in cases {
            let problem = origins(&table::ALLOWED_ORIGINS, text).expect_err(text);
            assert!(problem.problem.contains(part), "{text}: {problem:?}");
        }
    }

    #[test]
    fn redis_urls_are_checked_without_showing_them() {
        for url in ["redis://redis", "rediss://user:pass@redis:6380/1", "redis://[::1]:6379/?protocol=resp3"]
        {
            assert_eq!(redis_url(url), Ok(()), "{url}");
        }
        for url in
            ["http://hush", "unix:///hush", "redis:hush", "redis://hush:port", "redis://hush/db", "hush"]
        {
            let problem = redis_url(url).expect_err(url);
            assert!(!format!("{problem:?}").contains("hush"), "{problem:?}");
        }
    }
}
