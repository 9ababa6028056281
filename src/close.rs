//! Why a connection ends: one table of texts and metric labels. The protocol decides how a reason is sent.

use std::time::Duration;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The client closed; its code is echoed. None: its close frame had no code.
    Client(Option<u16>),
    /// The transport broke or ended without a close frame, so no reason can be sent.
    Lost,
    /// RFC 6455 was violated.
    Protocol(&'static str),
    /// The session's protocol does not support such messages.
    Unsupported(&'static str),
    /// A text message was not UTF-8.
    Utf8,
    /// A message or frame was larger than `session.message_bytes_max`, or than the broker accepts.
    TooLarge,
    /// Too many bad commands.
    Policy(&'static str),
    /// A fault in the node.
    Internal,
    /// The node drains; the client should wait this long before it reconnects.
    Drain { after: Duration },
    /// The node has more than its share of the connections; the client should wait this long before it
    /// reconnects.
    Rebalance { after: Duration },
    /// A plain frame could not be handed to the broker, or a session that must not have gaps could not be
    /// subscribed.
    Unavailable,
    /// Publications may be missing, and the session must be closed at a gap.
    Gap,
    /// The poll of this session is answered.
    Answered,
    /// The run on the only channel of the session has ended. `is_told`: the last queued frame tells it, and is the
    /// close frame.
    Ended { is_told: bool },
    /// There is no run on the channel to follow.
    NoRun,
    /// The history does not reach back to the beginning of the run.
    RunCut,
    /// The outbound queue was full.
    Slow,
    /// No frame arrived within `session.pong_timeout` of a ping.
    PongTimeout,
    /// The token is missing or not accepted, for this reason.
    Unauthorized(&'static str),
    /// The keys for checking the token cannot be fetched.
    KeysUnavailable,
    /// The token has expired.
    Expired,
    /// The user was disconnected, which revoked all tokens issued until then.
    Revoked,
    /// A bound session has no rights on its channel.
    Forbidden,
    /// The client names an application that is not configured.
    UnknownApp,
    /// The client speaks a version of the protocol that the node does not speak.
    UnknownVersion,
    /// The client continued to exceed `[limits]` after a warning.
    RateLimited,
    /// The node is short of memory.
    Overloaded,
}

impl Close {
    /// How long the client should wait before it reconnects, if it gets such a delay.
    pub fn reconnects_after(self) -> Option<Duration> {
        match self {
            Self::Drain { after } | Self::Rebalance { after } => Some(after),
            _ => None,
        }
    }

    /// Whether the reason is temporary: the node cannot reach another service, and neither the client nor its
    /// request is at fault.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Unavailable | Self::KeysUnavailable)
    }

    /// Whether the queued frames are dropped, because they are the reason for the close.
    pub fn drops_queue(self) -> bool {
        matches!(self, Self::Slow | Self::Overloaded)
    }

    /// The text for the client: at most 123 bytes, the most that fits a WebSocket's close frame (RFC 6455
    /// section 5.5.1).
    pub fn text(self) -> &'static str {
        match self {
            Self::Client(_) | Self::Lost | Self::Answered => "",
            Self::Protocol(what) | Self::Unsupported(what) | Self::Policy(what) => what,
            Self::Unauthorized(why) => why,
            Self::Utf8 => "a text message is not UTF-8",
            Self::TooLarge => {
                "the message is larger than session.message_bytes_max or than redis accepts"
            }
            Self::Internal => "a fault in the node: reconnect with backoff",
            Self::Drain { .. } => "the node drains: reconnect",
            Self::Rebalance { .. } => "connections are being rebalanced: reconnect",
            Self::Unavailable => "the broker is unavailable: reconnect with backoff",
            Self::Gap => {
                "publications may be missing: reconnect with backoff and reload your state"
            }
            Self::Ended { .. } => "the run has ended",
            Self::NoRun => "there is no run on the channel",
            Self::RunCut => "the beginning of the run is no longer kept",
            Self::Slow => "the client reads too slowly: reconnect and resume",
            Self::PongTimeout => "no pong in time: reconnect and resume",
            Self::KeysUnavailable => "the issuer's keys are unavailable: reconnect with backoff",
            Self::Expired => "the token has expired: get a new one",
            Self::Revoked => "the token was revoked: get a new one",
            Self::Forbidden => "not allowed on this channel; `tidegate explain` shows the reason",
            Self::UnknownApp => "there is no such app key in pusher.apps of this node",
            Self::UnknownVersion => "the protocol's version is not supported: it is 5, 6 or 7",
            Self::RateLimited => "rate limit exceeded: reconnect with backoff",
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
            Self::Answered => "answered",
            Self::Ended { .. } => "ended",
            Self::NoRun => "no_run",
            Self::RunCut => "run_cut",
            Self::Slow => "slow",
            Self::PongTimeout => "pong_timeout",
            Self::Unauthorized(_) => "unauthorized",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Forbidden => "forbidden",
            Self::UnknownApp => "unknown_app",
            Self::UnknownVersion => "unknown_version",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
        }
    }

    /// One of each, for metrics that start at zero.
    pub const EACH: [Self; 27] = [
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
        Self::Answered,
        Self::Ended { is_told: true },
        Self::NoRun,
        Self::RunCut,
        Self::Slow,
        Self::PongTimeout,
        Self::Unauthorized(""),
        Self::KeysUnavailable,
        Self::Expired,
        Self::Revoked,
        Self::Forbidden,
        Self::UnknownApp,
        Self::UnknownVersion,
        Self::RateLimited,
        Self::Overloaded,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_labels_are_distinct_and_close_texts_fit_a_control_frame() {
        let labels: std::collections::HashSet<_> = Close::EACH.map(Close::label).into();
        assert_eq!(labels.len(), Close::EACH.len());
        assert!(Close::EACH.iter().all(|close| close.text().len() <= 123));
    }

    #[test]
    fn an_optional_close_reason_takes_at_most_24_bytes() {
        assert!(size_of::<Option<Close>>() <= 24);
    }
}
