use super::{
    ClusterPubSub, Environment, LogFormat, LogLevel, OverflowPolicy, TokenAlgorithm, UserLimitPolicy,
};
use crate::protocol::CloseCode;

/// A closed set of values, each with its name in settings.
pub trait Choice: Copy + PartialEq + 'static {
    /// Names and what they stand for; several names for one value are allowed, the first is shown.
    const NAMES: &'static [(&'static str, Self)];

    /// The value of that name, in any case.
    #[must_use]
    fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    }

    /// Its name, as settings and documentation spell it.
    #[must_use]
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// A flag's value, for programs whose settings are not in the table; the error lists the names.
///
/// # Errors
/// When the text is none of the names.
pub fn parse_choice<T: Choice>(text: &str) -> Result<T, String> {
    T::parse(text).ok_or_else(|| format!("give one of {}", names::<T>().join(", ")))
}

/// All names of a choice.
pub(super) fn names<T: Choice>() -> Vec<&'static str> {
    T::NAMES.iter().map(|(name, _)| *name).collect()
}

/// `REJECT_WITH`: whether a refused token is answered in HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) http: bool,
}

/// `DRAIN_CLOSE_CODE`: the two codes that tell a client to come back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct DrainClose(pub(super) CloseCode);

impl Choice for Refusal {
    const NAMES: &'static [(&'static str, Self)] =
        &[("close", Self { http: false }), ("http", Self { http: true })];
}

impl Choice for DrainClose {
    const NAMES: &'static [(&'static str, Self)] =
        &[("1012", Self(CloseCode::Restart)), ("1001", Self(CloseCode::GoingAway))];
}

impl Choice for Environment {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("development", Self::Development),
        ("testing", Self::Testing),
        ("staging", Self::Staging),
        ("production", Self::Production),
    ];
}

impl Choice for UserLimitPolicy {
    const NAMES: &'static [(&'static str, Self)] =
        &[("reject", Self::Reject), ("evict_oldest", Self::EvictOldest)];
}

impl Choice for ClusterPubSub {
    const NAMES: &'static [(&'static str, Self)] = &[("sharded", Self::Sharded), ("classic", Self::Classic)];
}

impl Choice for OverflowPolicy {
    const NAMES: &'static [(&'static str, Self)] =
        &[("close", Self::Close), ("drop_oldest", Self::DropOldest)];
}

impl Choice for TokenAlgorithm {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];
}

impl Choice for LogLevel {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("TRACE", Self::Trace),
        ("DEBUG", Self::Debug),
        ("INFO", Self::Info),
        ("WARNING", Self::Warning),
        ("WARN", Self::Warning),
        ("ERROR", Self::Error),
    ];
}

impl Choice for LogFormat {
    const NAMES: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
