//! The two kinds of pub/sub: plain and sharded.

/// Maximum number of channels in one command, so that one command does not keep Redis busy for
/// long.
pub const CHANNELS_PER_COMMAND_MAX: usize = 1000;

/// The kind of pub/sub, which determines its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubSub {
    /// The only master relays every channel.
    Plain,
    /// The master of a channel's slot relays it, as in a cluster.
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

    /// The subcommand of `PUBSUB` that counts the subscribers of channels.
    pub fn count(self) -> &'static str {
        self.word("NUMSUB", "SHARDNUMSUB")
    }

    /// The subcommand of `PUBSUB` that lists channels with subscribers.
    pub fn list(self) -> &'static str {
        self.word("CHANNELS", "SHARDCHANNELS")
    }

    fn word(self, plain: &'static str, sharded: &'static str) -> &'static str {
        match self {
            Self::Plain => plain,
            Self::Sharded => sharded,
        }
    }
}
