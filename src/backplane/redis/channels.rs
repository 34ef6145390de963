//! Users and their channels' names.

use crate::protocol::UserId;

/// Names are a prefix and the user id as it is: a Redis channel is binary safe, so nothing is escaped.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    prefix: String,
}

impl Channels {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn name(&self, user: &UserId) -> String {
        [&self.prefix, user.as_str()].concat()
    }

    pub(super) fn names(&self, users: &[UserId]) -> Vec<String> {
        users.iter().map(|user| self.name(user)).collect()
    }

    /// The user of a channel; `None` for a name that is none of ours.
    pub(super) fn user<'a>(&self, channel: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(channel.strip_prefix(self.prefix.as_bytes())?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_user() {
        for prefix in ["ws:", "", "{tag}:größe "] {
            let channels = Channels::new(prefix);
            for text in ["ann", "ws:ann", "a b:{c}\nd", "größe"] {
                let user = UserId::new(text).expect("a valid id");
                let name = channels.name(&user);
                assert_eq!(name, format!("{prefix}{text}"));
                assert_eq!(channels.user(name.as_bytes()), Some(text));
            }
        }
    }

    #[test]
    fn other_channels_belong_to_nobody() {
        let channels = Channels::new("ws:");
        assert_eq!(channels.user(b"other:ann"), None);
        assert_eq!(channels.user(b"ws:\xff\xfe"), None, "no user id, which is UTF-8");
    }
}
