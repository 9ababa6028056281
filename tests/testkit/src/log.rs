//! The logs of publishers and subscribers, the only input of the checker.

use std::fmt;
use std::time::{Duration, Instant};

/// Indices into the lists of all channels and publishers.
pub type ChannelNumber = usize;
pub type PublisherNumber = usize;

/// A channel of the run.
#[derive(Clone, Debug)]
pub struct Channel {
    pub name: String,
    /// It keeps history: more than a client can miss during any fault, unless `short_history`.
    pub history: bool,
    /// Its history is short, so that a client that was disconnected for long receives a gap.
    pub short_history: bool,
    /// The channel of the publication bursts; it has few subscribers.
    pub flooded: bool,
}

/// A publication's position in its channel's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub epoch: u64,
    pub seq: u64,
}

impl Position {
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once('-')?;
        Some(Self { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// All publications of one publisher on one channel. Its numbers start at 1 and have no gaps.
#[derive(Clone, Debug, Default)]
pub struct PublisherLog {
    pub channel: ChannelNumber,
    /// Number `n` is at index `n - 1`.
    pub publications: Vec<Publication>,
}

#[derive(Clone, Copy, Debug)]
pub struct Publication {
    /// When it was first sent.
    pub started: Instant,
    /// How often it was sent. A repeated publication may be delivered more than once if no history detects
    /// its idempotency key.
    pub attempts: u32,
    /// When it was acknowledged.
    pub acknowledged: Option<Instant>,
    /// The position in the acknowledgement.
    pub position: Option<Position>,
}

/// Everything one subscriber received, in order.
#[derive(Clone, Debug, Default)]
pub struct SubscriberLog {
    pub name: String,
    pub events: Vec<(Instant, LogEvent)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LogEvent {
    /// Connected to a node.
    Opened {
        node: String,
    },
    Subscribed {
        channel: ChannelNumber,
        since: Option<Position>,
        position: Option<Position>,
        recovered: Option<bool>,
    },
    Publication {
        channel: ChannelNumber,
        publisher: PublisherNumber,
        number: u64,
        position: Option<Position>,
    },
    Gap {
        channel: ChannelNumber,
        reason: String,
    },
    /// Not subscribed for now.
    Refused {
        channel: ChannelNumber,
        why: String,
    },
    /// The connection ended, and with it every subscription.
    Closed {
        why: String,
    },
    /// An event that no fault explains.
    Unexpected(String),
}

impl LogEvent {
    /// The channel of the event; none: it concerns all channels.
    pub fn channel(&self) -> Option<ChannelNumber> {
        match self {
            Self::Subscribed { channel, .. }
            | Self::Publication { channel, .. }
            | Self::Gap { channel, .. }
            | Self::Refused { channel, .. } => Some(*channel),
            _ => None,
        }
    }

    /// A line of a log.
    pub fn line(&self, at: Duration, channels: &[Channel]) -> String {
        let name = self.channel().map_or("", |number| channels[number].name.as_str());
        let at = at.as_secs_f64();
        match self {
            Self::Opened { node } => format!("{at:9.4} open to node {node}"),
            Self::Subscribed { since, position, recovered, .. } => {
                let recovered = match recovered {
                    Some(true) => ", recovered",
                    Some(false) => ", not recovered",
                    None => "",
                };
                let (since, position) = (shown(*since), shown(*position));
                format!("{at:9.4} {name} subscribed since {since} at {position}{recovered}")
            }
            Self::Publication { publisher, number, position, .. } => {
                format!("{at:9.4} {name} publication {publisher}/{number} at {}", shown(*position))
            }
            Self::Gap { reason, .. } => format!("{at:9.4} {name} gap: {reason}"),
            Self::Refused { why, .. } => format!("{at:9.4} {name} refused: {why}"),
            Self::Closed { why } => format!("{at:9.4} closed: {why}"),
            Self::Unexpected(what) => format!("{at:9.4} unexpected: {what}"),
        }
    }
}

fn shown(position: Option<Position>) -> String {
    position.map_or("-".to_owned(), |it| it.to_string())
}
