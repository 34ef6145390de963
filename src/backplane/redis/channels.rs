//! Users and their channels' names.

use super::slots::Slot;
use crate::config::BackplaneConfig;
use crate::history::SendBy;
use crate::protocol::UserId;

/// What stands around a user's plain channel in the name of the channel of messages with history: the braces are a hash
/// tag, so that both have one slot in a cluster.
const MESSAGES: (&str, &str) = ("{", "}:messages");

/// Names are a prefix and the user id as it is: a Redis channel is binary safe, so nothing is escaped.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    prefix: String,
    history: bool,
    cluster: bool,
    send: SendBy,
}

/// Whose channel it is, and which of the user's two.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Channel<'a> {
    /// The payload as it is.
    Plain(&'a str),
    /// Records, with history.
    Messages(&'a str),
}

impl Channels {
    /// With `history` a user has two channels, else only the plain one.
    pub(super) fn new(config: &BackplaneConfig, history: bool) -> Self {
        let (prefix, cluster) = (config.channel_prefix.clone(), config.reach.cluster.is_some());
        Self { prefix, history, cluster, send: SendBy::for_redis(&config.reach) }
    }

    /// How messages with history are sent.
    pub(super) fn send_by(&self) -> SendBy {
        self.send
    }

    /// Whether a user can be served: in a cluster the tag of a user's keys ends with the first brace, so that they would be
    /// parted.
    pub(super) fn is_servable(&self, user: &UserId) -> bool {
        !(self.cluster && user.as_str().contains('}'))
    }

    /// The slot of all that belongs to a user.
    pub(super) fn slot(&self, user: &UserId) -> Slot {
        Slot::of(&[&self.prefix, user.as_str()])
    }

    /// What stands before the user id in a plain channel's name.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The plain channel, after which the user's keys are named too.
    pub(super) fn name(&self, user: &UserId) -> String {
        [&self.prefix, user.as_str()].concat()
    }

    /// How many channels each user has.
    pub(super) fn of_each_user(&self) -> usize {
        if self.history { 2 } else { 1 }
    }

    /// The channels of these users that SUBSCRIBE takes.
    pub(super) fn names(&self, users: &[UserId]) -> Vec<String> {
        let mut names = Vec::with_capacity(users.len() * self.of_each_user());
        for user in users {
            names.push(self.name(user));
            if self.history && self.send == SendBy::Publish {
                names.push(self.messages(user));
            }
        }
        names
    }

    /// The others, that SSUBSCRIBE takes one by one.
    pub(super) fn sharded_names(&self, users: &[UserId]) -> Vec<String> {
        let sharded = self.history && self.send == SendBy::ShardedPublish;
        if sharded { users.iter().map(|user| self.messages(user)).collect() } else { Vec::new() }
    }

    fn messages(&self, user: &UserId) -> String {
        [MESSAGES.0, &self.prefix, user.as_str(), MESSAGES.1].concat()
    }

    /// Whose channel this is; `None` for a name that is none of ours. A user whose name makes the plain channel look like
    /// a channel of messages is not mistaken: with a prefix that does not begin with a brace no plain channel does.
    pub(super) fn user<'a>(&self, channel: &'a [u8]) -> Option<Channel<'a>> {
        if self.history
            && let Some(plain) = channel
                .strip_prefix(MESSAGES.0.as_bytes())
                .and_then(|rest| rest.strip_suffix(MESSAGES.1.as_bytes()))
            && let Some(user) = plain.strip_prefix(self.prefix.as_bytes())
        {
            return std::str::from_utf8(user).ok().map(Channel::Messages);
        }
        std::str::from_utf8(channel.strip_prefix(self.prefix.as_bytes())?).ok().map(Channel::Plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClusterConfig, ClusterPubSub, RedisReach};

    fn channels(prefix: &str, history: bool, cluster: Option<ClusterPubSub>) -> Channels {
        let cluster = cluster.map(|pubsub| ClusterConfig { nodes: Vec::new(), pubsub });
        let reach = RedisReach { cluster, ..RedisReach::default() };
        let config = BackplaneConfig { channel_prefix: prefix.to_owned(), reach, redis_url: None };
        Channels::new(&config, history)
    }

    #[test]
    fn what_belongs_to_a_user_has_one_slot_in_a_cluster() {
        let id = |text| UserId::new(text).expect("a valid id");
        let sharded = channels("ws:", true, Some(ClusterPubSub::Sharded));
        let users = [id("ann"), id("a{b")];
        assert_eq!(sharded.names(&users), ["ws:ann", "ws:a{b"]);
        assert_eq!(sharded.sharded_names(&users), ["{ws:ann}:messages", "{ws:a{b}:messages"]);
        let classic = channels("ws:", true, Some(ClusterPubSub::Classic));
        assert_eq!(classic.names(&users[..1]), ["ws:ann", "{ws:ann}:messages"]);
        assert!(classic.sharded_names(&users).is_empty());
        assert!(channels("ws:", false, Some(ClusterPubSub::Sharded)).sharded_names(&users).is_empty());
        assert!(sharded.is_servable(&users[1]) && !sharded.is_servable(&id("a}b")));
        assert!(channels("ws:", true, None).is_servable(&id("a}b")));
    }

    #[test]
    fn names_lead_back_to_their_user() {
        for prefix in ["ws:", "größe "] {
            let channels = channels(prefix, true, None);
            for text in ["ann", "ws:ann", "a b:{c}\nd", "größe", "}:messages", "{ws:ann}:messages"] {
                let user = UserId::new(text).expect("a valid id");
                let names = channels.names(&[user]);
                assert_eq!(names, [format!("{prefix}{text}"), format!("{{{prefix}{text}}}:messages")]);
                assert_eq!(channels.user(names[0].as_bytes()), Some(Channel::Plain(text)));
                assert_eq!(channels.user(names[1].as_bytes()), Some(Channel::Messages(text)));
            }
        }
    }

    #[test]
    fn without_history_there_is_one_channel() {
        for prefix in ["ws:", "", "{tag}:größe "] {
            let channels = channels(prefix, false, None);
            let user = UserId::new("ann").expect("a valid id");
            assert_eq!(channels.names(&[user]), [format!("{prefix}ann")]);
            assert_eq!(channels.user(format!("{prefix}ann").as_bytes()), Some(Channel::Plain("ann")));
        }
    }

    #[test]
    fn other_channels_belong_to_nobody() {
        let channels = channels("ws:", true, None);
        for name in [b"other:ann".as_slice(), b"ws:\xff\xfe", b"{other:ann}:messages", b"{ws:ann}:history"] {
            assert_eq!(channels.user(name), None);
        }
    }
}
