//! Announcements in Redis: publications on one channel that all nodes subscribe to. Nothing is kept.

use crate::broker::announcement::{Announcement, NodeStage};
use crate::publication::{Channel, NodeId};

/// The Redis channel on which nodes tell of themselves. No user's channel: it has spaces.
pub fn channel() -> Channel {
    Channel::internal(NAME)
}

/// Is it the channel's name, without the prefix?
pub fn is_channel(name: &str) -> bool {
    name == NAME
}

const NAME: &str = "fleet of nodes";

/// What a node says there that has installed rules in Redis.
pub fn news(node: NodeId) -> String {
    format!("{node} {NEWS}")
}

/// The node that said so. None: it is something else.
pub fn told_news(message: &[u8]) -> Option<NodeId> {
    let (node, rest) = std::str::from_utf8(message).ok()?.split_once(' ')?;
    node.parse().ok().filter(|_| rest.split(' ').next() == Some(NEWS))
}

const NEWS: &str = "rules";

/// The message that says so.
pub fn written(announcement: Announcement) -> String {
    let Announcement { node, stage, connections, holds_ms, rules } = announcement;
    let stage = match stage {
        NodeStage::Serving => "serving",
        NodeStage::Leaving => "leaving",
        NodeStage::Gone => "gone",
    };
    let rules = rules.map(|hash| format!(" {hash:016x}")).unwrap_or_default();
    format!("{node} {stage} {connections} {holds_ms}{rules}")
}

/// What a message on the channel says. None: nothing that a node wrote. Later versions may add words.
pub fn told(message: &[u8]) -> Option<Announcement> {
    let mut words = std::str::from_utf8(message).ok()?.split(' ');
    let node = words.next()?.parse().ok()?;
    let stage = match words.next()? {
        "serving" => NodeStage::Serving,
        "leaving" => NodeStage::Leaving,
        "gone" => NodeStage::Gone,
        _ => return None,
    };
    let (connections, holds_ms) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // Nodes of earlier versions do not say it.
    let rules = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
    Some(Announcement { node, stage, connections, holds_ms, rules })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_is_written_is_read_and_what_is_none_is_left() {
        for stage in [NodeStage::Serving, NodeStage::Leaving, NodeStage::Gone] {
            let node = NodeId::random();
            let rules = Some(0x0123_4567_89ab_cdef);
            let said = Announcement { node, stage, connections: 12_345, holds_ms: 7000, rules };
            assert_eq!(told(written(said).as_bytes()), Some(said));
            let silent = Announcement { rules: None, ..said };
            assert_eq!(told(written(silent).as_bytes()), Some(silent));
            assert_eq!(told(format!("{} more", written(said)).as_bytes()), Some(said));
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
            assert_eq!(told(other.as_bytes()), None, "{other}");
        }
        assert_eq!(told(b"\xff"), None);
        let node = NodeId::random();
        let word = news(node);
        assert_eq!((told_news(word.as_bytes()), told(word.as_bytes())), (Some(node), None));
        assert_eq!(told_news(format!("{node} serving 5 5").as_bytes()), None);
    }
}
