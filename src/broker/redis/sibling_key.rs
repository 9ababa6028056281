//! Names of what Redis keeps beside a channel, in the channel's cluster slot.

/// `<prefix><what> {<tag>} <channel>`, where `key` is the channel's own, `<prefix><channel>`, and the
/// tag its hash tag, or all of it where it has none.
///
/// The spaces keep it out of reach: no channel's name has one. Companions of one channel always
/// share a slot with each other; with the channel's own key too, but for a key that has a `}` and
/// yet no hash tag (`tidegate:a}b`, `tidegate:{}a`), since no tag can spell it.
pub fn sibling_key(prefix: &str, what: &str, key: &str) -> String {
    let channel = key.strip_prefix(prefix).unwrap_or(key);
    format!("{prefix}{what} {{{}}} {channel}", hash_tag(key).unwrap_or(key))
}

/// What lies between the first `{` and the next `}`, unless that is nothing.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Redis hashes of a key.
    fn hashed(key: &str) -> &str {
        hash_tag(key).unwrap_or(key)
    }

    #[test]
    fn a_companion_lies_in_its_channels_slot() {
        for channel in ["news", "chat:{42}", "a{b", "{x}{y}", "{{x}", "é"] {
            let key = format!("tidegate:{channel}");
            let companion = sibling_key("tidegate:", "presence", &key);
            assert_eq!(hashed(&companion), hashed(&key), "{channel}");
            assert!(companion.starts_with("tidegate:presence {"), "{companion}");
        }
        assert_eq!(
            sibling_key("tidegate:", "presence", "tidegate:news"),
            "tidegate:presence {tidegate:news} news"
        );
    }

    #[test]
    fn no_two_channels_share_a_companion() {
        let channels = ["{a}x", "{a}y", "a", "tidegate:a", "{tidegate:a}", "{a}"];
        let names =
            channels.map(|it| sibling_key("tidegate:", "presence", &format!("tidegate:{it}")));
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name}");
        }
    }

    #[test]
    fn what_no_tag_can_spell_at_least_stays_together() {
        for channel in ["a}b", "{}a", "}", "{}"] {
            let key = format!("tidegate:{channel}");
            let companion = sibling_key("tidegate:", "presence", &key);
            assert_eq!(hashed(&companion), hashed(&format!("{companion} node")), "{channel}");
        }
    }
}
