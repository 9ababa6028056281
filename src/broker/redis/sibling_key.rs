//! Names of keys that Redis keeps beside a channel, in the channel's cluster slot.

/// `<prefix><what> {<tag>} <channel>`, where `key` is the channel's own key, `<prefix><channel>`,
/// and the tag is its hash tag, or the whole key where it has none.
///
/// The spaces protect it: channel names have none. Sibling keys of one channel always share a slot.
/// They share it with the channel's own key too, except for a key that has a `}` and yet no hash
/// tag (`tidegate:a}b`, `tidegate:{}a`), because no tag can spell that.
pub fn sibling_key(prefix: &str, what: &str, key: &str) -> String {
    let channel = key.strip_prefix(prefix).unwrap_or(key);
    format!("{prefix}{what} {{{}}} {channel}", hash_tag(key).unwrap_or(key))
}

/// The text between the first `{` and the next `}`, unless it is empty.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of a key that Redis hashes.
    fn hashed(key: &str) -> &str {
        hash_tag(key).unwrap_or(key)
    }

    #[test]
    fn a_sibling_key_shares_the_slot_of_its_channel() {
        for channel in ["news", "chat:{42}", "a{b", "{x}{y}", "{{x}", "é"] {
            let key = format!("tidegate:{channel}");
            let sibling = sibling_key("tidegate:", "presence", &key);
            assert_eq!(hashed(&sibling), hashed(&key), "{channel}");
            assert!(sibling.starts_with("tidegate:presence {"), "{sibling}");
        }
        assert_eq!(
            sibling_key("tidegate:", "presence", "tidegate:news"),
            "tidegate:presence {tidegate:news} news"
        );
    }

    #[test]
    fn no_two_channels_share_a_sibling_key() {
        let channels = ["{a}x", "{a}y", "a", "tidegate:a", "{tidegate:a}", "{a}"];
        let names =
            channels.map(|it| sibling_key("tidegate:", "presence", &format!("tidegate:{it}")));
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name}");
        }
    }

    #[test]
    fn sibling_keys_of_a_channel_with_unbalanced_braces_share_a_slot() {
        for channel in ["a}b", "{}a", "}", "{}"] {
            let key = format!("tidegate:{channel}");
            let sibling = sibling_key("tidegate:", "presence", &key);
            assert_eq!(hashed(&sibling), hashed(&format!("{sibling} node")), "{channel}");
        }
    }
}
