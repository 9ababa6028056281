//! Why a connection ends: one table of texts and metric labels. How a reason is said on the wire is for the
//! protocol to know.

use std::time::Duration;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The client said so; its code is echoed. None: its close frame carried no code.
    Client(Option<u16>),
    /// The transport broke or ended without a close frame. Nobody is left to be told.
    Lost,
    /// RFC 6455 was violated.
    Protocol(&'static str),
    /// What the protocol of the session cannot carry.
    Unsupported(&'static str),
    /// A text was not UTF-8.
    Utf8,
    /// A message or frame was larger than `session.message_bytes_max`, or than the broker takes.
    TooLarge,
    /// Too many bad commands.
    Policy(&'static str),
    /// A fault in the node.
    Internal,
    /// The node drains; the client should wait so long before it comes back.
    Drain { after: Duration },
    /// The node has more than its share of the connections, and asks the client for the same.
    Rebalance { after: Duration },
    /// A plain frame could not be handed to the broker, or a plain session that wants no gap could not be subscribed.
    Unavailable,
    /// Publications may be missing, and the plain session asked to be closed for it.
    Gap,
    /// The outbound queue was full.
    Slow,
    /// No frame within `session.pong_timeout` of a ping.
    PongTimeout,
    /// The token is missing or cannot be accepted, for this reason.
    Unauthorized(&'static str),
    /// The keys to check the token with cannot be fetched.
    KeysUnavailable,
    /// The token's time is over.
    Expired,
    /// The user was disconnected, and with it every token issued until then.
    Revoked,
    /// A plain session may not do this on its channel.
    Forbidden,
    /// More than `[limits]` lets one connection do, after it was told.
    RateLimited,
    /// The node is short of memory.
    Overloaded,
}

impl Close {
    /// How long the client is to wait before it comes back, where it is told.
    pub fn reconnects_after(self) -> Option<Duration> {
        match self {
            Self::Drain { after } | Self::Rebalance { after } => Some(after),
            _ => None,
        }
    }

    /// Is it for what the node cannot reach right now, and no fault of the client or of what it asked for?
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Unavailable | Self::KeysUnavailable)
    }

    /// Is what waits for the client dropped, because it is what the connection is closed for?
    pub fn drops_queue(self) -> bool {
        matches!(self, Self::Slow | Self::Overloaded)
    }

    /// What the client is told: at most 123 bytes, as a WebSocket's close frame has no room for more
    /// (RFC 6455 section 5.5.1).
    pub fn text(self) -> &'static str {
        match self {
            Self::Client(_) | Self::Lost => "",
            Self::Protocol(what) | Self::Unsupported(what) | Self::Policy(what) => what,
            Self::Unauthorized(why) => why,
            Self::Utf8 => "a text message is not UTF-8",
            Self::TooLarge => {
                "the message is larger than session.message_bytes_max or than redis takes"
            }
            Self::Internal => "a fault in the node: reconnect with backoff",
            Self::Drain { .. } => "the node drains: reconnect",
            Self::Rebalance { .. } => "connections are shared out anew: reconnect",
            Self::Unavailable => "the broker is unavailable: reconnect with backoff",
            Self::Gap => {
                "publications may be missing: reconnect with backoff and reload your state"
            }
            Self::Slow => "too slow to take what was sent: reconnect and resume",
            Self::PongTimeout => "no pong in time: reconnect and resume",
            Self::KeysUnavailable => "the issuer's keys are unavailable: reconnect with backoff",
            Self::Expired => "the token has expired: get a new one",
            Self::Revoked => "the token was revoked: get a new one",
            Self::Forbidden => "not allowed on this channel",
            Self::RateLimited => "too much at once: reconnect with backoff",
            Self::Overloaded => "the node is short of memory: reconnect with backoff",
        }
    }

    /// The value of the `reason` label of `tidegate_connections_closed_total`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Lost => "lost",
            Self::Protocol(_) => "protocol",
            Self::Unsupported(_) => "unsupported",
            Self::Utf8 => "utf8",
            Self::TooLarge => "too_large",
            Self::Policy(_) => "policy",
            Self::Internal => "internal",
            Self::Drain { .. } => "drain",
            Self::Rebalance { .. } => "rebalance",
            Self::Unavailable => "unavailable",
            Self::Gap => "gap",
            Self::Slow => "slow",
            Self::PongTimeout => "pong_timeout",
            Self::Unauthorized(_) => "unauthorized",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
        }
    }

    /// One of each, for metrics that start at zero.
    pub const EACH: [Self; 21] = [
        Self::Client(None),
        Self::Lost,
        Self::Protocol(""),
        Self::Unsupported(""),
        Self::Utf8,
        Self::TooLarge,
        Self::Policy(""),
        Self::Internal,
        Self::Drain { after: Duration::ZERO },
        Self::Rebalance { after: Duration::ZERO },
        Self::Unavailable,
        Self::Gap,
        Self::Slow,
        Self::PongTimeout,
        Self::Unauthorized(""),
        Self::KeysUnavailable,
        Self::Expired,
        Self::Revoked,
        Self::Forbidden,
        Self::RateLimited,
        Self::Overloaded,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_texts_fit_a_control_frame() {
        let labels: std::collections::HashSet<_> = Close::EACH.map(Close::label).into();
        assert_eq!(labels.len(), Close::EACH.len());
        assert!(Close::EACH.iter().all(|close| close.text().len() <= 123));
    }

    #[test]
    fn it_is_small_as_every_connection_holds_some() {
        assert!(size_of::<Option<Close>>() <= 24);
    }
}
