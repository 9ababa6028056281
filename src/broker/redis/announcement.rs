//! Announcements in Redis: publications on one channel that all nodes subscribe to. They are not
//! stored.

use crate::broker::announcement::{Announcement, NodeStage};
use crate::publication::{Channel, NodeId};

/// The Redis channel of announcements. Its name has spaces, so no client can use it.
pub fn channel() -> Channel {
    Channel::internal(NAME)
}

/// Whether this is the channel's name, without the prefix.
pub fn is_channel(name: &str) -> bool {
    name == NAME
}

const NAME: &str = "fleet of nodes";

/// The message of a node that has installed rules in Redis.
pub fn rules_installed(node: NodeId) -> String {
    format!("{node} {RULES_INSTALLED}")
}

/// The node that sent such a message. `None`: another message.
pub fn read_rules_installed(message: &[u8]) -> Option<NodeId> {
    let (node, rest) = std::str::from_utf8(message).ok()?.split_once(' ')?;
    node.parse().ok().filter(|_| rest.split(' ').next() == Some(RULES_INSTALLED))
}

const RULES_INSTALLED: &str = "rules";

/// The message that carries an announcement.
pub fn write(announcement: Announcement) -> String {
    let Announcement { node, stage, connections, holds_ms, rules } = announcement;
    let stage = match stage {
        NodeStage::Serving => "serving",
        NodeStage::Leaving => "leaving",
        NodeStage::Gone => "gone",
    };
    let rules = rules.map(|hash| format!(" {hash:016x}")).unwrap_or_default();
    format!("{node} {stage} {connections} {holds_ms}{rules}")
}

/// Reads a message. `None`: no node wrote it. Later versions may append words.
pub fn read(message: &[u8]) -> Option<Announcement> {
    let mut words = std::str::from_utf8(message).ok()?.split(' ');
    let node = words.next()?.parse().ok()?;
    let stage = match words.next()? {
        "serving" => NodeStage::Serving,
        "leaving" => NodeStage::Leaving,
        "gone" => NodeStage::Gone,
        _ => return None,
    };
    let (connections, holds_ms) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // Nodes of earlier versions do not send it.
    let rules = words.next().and_then(|message| u64::from_str_radix(message, 16).ok());
    Some(Announcement { node, stage, connections, holds_ms, rules })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn announcements_are_read_as_written_and_other_messages_are_ignored() {
        for stage in [NodeStage::Serving, NodeStage::Leaving, NodeStage::Gone] {
            let node = NodeId::random();
            let rules = Some(0x0123_4567_89ab_cdef);
            let announcement =
                Announcement { node, stage, connections: 12_345, holds_ms: 7000, rules };
            assert_eq!(read(write(announcement).as_bytes()), Some(announcement));
            let without_rules = Announcement { rules: None, ..announcement };
            assert_eq!(read(write(without_rules).as_bytes()), Some(without_rules));
            assert_eq!(
                read(format!("{} more", write(announcement)).as_bytes()),
                Some(announcement)
            );
        }
        for other in [
            "",
            "0123456789ab",
            "0123456789ab serving 5",
            "0123456789ab asleep 5 5",
            "0123456789ab serving -5 5",
            "node serving 5 5",
            "+123456789ab serving 5 5",
        ] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
        assert_eq!(read(b"\xff"), None);
        let node = NodeId::random();
        let message = rules_installed(node);
        assert_eq!(
            (read_rules_installed(message.as_bytes()), read(message.as_bytes())),
            (Some(node), None)
        );
        assert_eq!(read_rules_installed(format!("{node} serving 5 5").as_bytes()), None);
    }
}
