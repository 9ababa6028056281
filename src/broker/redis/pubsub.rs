//! Which of its two kinds of pub/sub Redis is spoken to with.

/// Most channels in one question or command, so that Redis is never busy with one for long.
pub const CHANNELS_PER_COMMAND_MAX: usize = 1000;

/// The kind, and with it the words of its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubSub {
    /// Every master relays every channel: there is one.
    Plain,
    /// A channel is relayed by the master of its slot alone, as in a cluster.
    Sharded,
}

impl PubSub {
    pub fn is_sharded(self) -> bool {
        self == Self::Sharded
    }

    pub fn publish(self) -> &'static str {
        self.word("PUBLISH", "SPUBLISH")
    }

    pub fn subscribe(self) -> &'static str {
        self.word("SUBSCRIBE", "SSUBSCRIBE")
    }

    pub fn unsubscribe(self) -> &'static str {
        self.word("UNSUBSCRIBE", "SUNSUBSCRIBE")
    }

    /// What follows `PUBSUB` to ask how many subscribe to channels.
    pub fn count(self) -> &'static str {
        self.word("NUMSUB", "SHARDNUMSUB")
    }

    fn word(self, plain: &'static str, sharded: &'static str) -> &'static str {
        match self {
            Self::Plain => plain,
            Self::Sharded => sharded,
        }
    }
}
