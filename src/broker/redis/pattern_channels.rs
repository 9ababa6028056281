//! The internal channels that stand for patterns in Redis.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures_util::future::{BoxFuture, Shared};

use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;

/// Before the glob in the name of an internal channel, which stands for the pattern among the wanted channels.
const NAME: &str = "pattern ";

/// Before the tag in the name of a shared channel, and `}` behind it.
const SHARED_NAME: &str = "patterns {";

/// Resolves once Redis has confirmed the shared channels of all slots.
pub type SharedConfirmation = Shared<BoxFuture<'static, Result<(), Unavailable>>>;

/// The patterns that this node follows.
#[derive(Default)]
pub struct FollowedPatterns {
    /// In Redis' notation.
    pub globs: Mutex<BTreeSet<String>>,
    /// On a cluster. Some: the node follows the shared channels of all slots, and whether they are confirmed.
    pub slots: Mutex<Option<SharedConfirmation>>,
}

/// Whether the internal channel stands for a pattern, or is the shared channel of a slot.
pub fn is_pattern(channel: &Channel) -> bool {
    channel.as_str().starts_with(NAME) || is_shared(channel.as_str())
}

/// Whether it is the name of a shared channel.
pub fn is_shared(name: &str) -> bool {
    name.starts_with(SHARED_NAME)
}

/// The pattern in Redis' notation that the internal channel stands for. None: it is another channel.
pub fn glob_of(prefix: &str, channel: &Channel) -> Option<String> {
    let glob = channel.as_str().strip_prefix(NAME)?;
    Some(format!("{}{glob}", escaped(prefix)))
}

/// The internal channel that stands for a pattern in Redis' notation.
pub fn channel_of_glob(prefix: &str, glob: &[u8]) -> Option<Channel> {
    let glob = std::str::from_utf8(glob).ok()?.strip_prefix(&escaped(prefix))?;
    Some(channel_of(glob))
}

/// The internal channel that stands for a pattern in Redis' notation, without the prefix.
pub fn channel_of(glob: &str) -> Channel {
    Channel::internal(&format!("{NAME}{glob}"))
}

/// The shared channel with this tag.
pub fn shared(tag: &str) -> Channel {
    Channel::internal(&format!("{SHARED_NAME}{tag}}}"))
}

/// The channel's name and the message in a message of a shared channel.
pub fn read_shared(payload: &[u8]) -> Option<(Channel, &[u8])> {
    let end = payload.iter().position(|byte| *byte == b'\n')?;
    let channel = Channel::new(std::str::from_utf8(&payload[..end]).ok()?).ok()?;
    Some((channel, &payload[end + 1..]))
}

/// The text as a pattern that matches only itself.
pub fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Pattern;

    #[test]
    fn a_rules_pattern_becomes_one_of_redis_that_matches_at_least_its_channels() {
        for (pattern, expected) in [
            ("orders:**", "orders:*"),
            ("orders:*:x", "orders:*:x"),
            ("user:{user}:*", "user:*:*"),
            ("a[b]?*", r"a\[b\]\?*"),
            ("news", "news"),
            ("{user}*", "*"),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().glob(escaped), expected);
        }
    }

    #[test]
    fn the_pattern_of_a_prefix_matches_only_names_that_begin_with_it() {
        assert_eq!(escaped(r"a*[b]?\c:"), r"a\*\[b\]\?\\c:");
        assert_eq!(escaped("presence-"), r"presence\-");
    }
}
