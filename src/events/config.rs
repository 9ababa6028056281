//! The `[events]` section of the configuration.

use crate::rules::Rules;
use crate::settings::Settings;

/// The `[events]` section.
#[derive(Clone, Debug)]
pub struct Config {
    /// The stream's key. None: no events.
    pub stream: Option<String>,
    /// Entries.
    pub size: usize,
}

const ALLOWED: &str = "a key of at most 255 bytes that begins with broker.prefix and has no white space or control \
    character, and { and } only around one hash tag";

impl Config {
    /// `prefix`: `broker.prefix`. `is_memory`: whether the broker is in the node's own memory.
    pub fn read(settings: &mut Settings, prefix: &str, is_memory: bool) -> Self {
        let mut section = settings.section("events");
        let stream = section.text(
            "stream",
            None,
            ALLOWED,
            |text| is_key(text, prefix).then(|| text.to_owned()),
            String::clone,
            "The key of the Redis Stream to which nodes append events for the backend, such as \
             `tidegate:events`: `connected` and `disconnected` of every session, and what the rules' `events` \
             say. It begins with `broker.prefix`. Not set: there are no events.",
        );
        if is_memory && section.is_given("stream") {
            section.fault("stream", "needs Redis, and broker.url is memory:");
        }
        let size = section.number(
            "size",
            100_000,
            100..=10_000_000,
            "How many of the newest events the stream keeps, at times some more. An event takes Redis 150 to \
             400 bytes, or up to 1 KiB more with a payload.",
        );
        Self { stream, size }
    }

    /// Adds a fault if the stream is also that of a channel's history.
    pub fn check_rules(&self, settings: &mut Settings, prefix: &str, rules: &Rules) {
        let Some(channel) = self.stream.as_deref().and_then(|key| key.strip_prefix(prefix)) else {
            return;
        };
        if rules.of(channel).history.is_some() {
            let what = format!(
                "is also the key of the history of the channel {channel}, which a rule keeps; use another key, \
                 or put a rule without history for that channel first"
            );
            settings.fault("events.stream", what);
        }
    }
}

fn is_key(text: &str, prefix: &str) -> bool {
    let is_name = text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    is_name
        && text.len() <= 255
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && has_plain_tag(text)
}

/// Whether the key is its own hash tag, or has exactly one: others cannot have other keys in their slot.
fn has_plain_tag(key: &str) -> bool {
    let Some((before, rest)) = key.split_once('{') else { return !key.contains('}') };
    let Some((tag, after)) = rest.split_once('}') else { return false };
    !tag.is_empty() && ![before, tag, after].iter().any(|part| part.contains(['{', '}']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_events_has_a_key_under_the_prefix_with_at_most_one_hash_tag() {
        for key in ["t:events", "t:{a}events", "t:e{vents}"] {
            assert!(is_key(key, "t:"), "{key}");
        }
        for key in ["t:", "", "events", "t:a b", "t:{}a", "t:a}b", "t:{a", "t:{a}{b}", "t:{a{b}"] {
            assert!(!is_key(key, "t:"), "{key}");
        }
        assert!(!is_key(&format!("t:{}", "x".repeat(255)), "t:"));
    }
}
