//! The journals of clients and publishers, the only input of the audit.

use std::fmt;
use std::time::{Duration, Instant};

use crate::audit::channels::{AuditChannel, ChannelNumber};
use crate::log::{Position, PublisherNumber};

/// A publication by its publisher and number. Numbers start at 1 and have no gaps.
pub type PublicationId = (PublisherNumber, u64);

/// The position of a client that wants everything from the first publication on.
pub const FIRST: Position = Position { epoch: 0, seq: 0 };

/// How a publisher sends its publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishPath {
    /// A json session.
    Json,
    /// A plain session, which gets no replies.
    Plain,
    /// `POST /api/publish` of the internal listener.
    Api,
    /// `FCALL tidegate_publish`.
    Function,
    /// `PUBLISH` of the bare payload.
    Publish,
    /// `PUBLISH` with a header line before the payload.
    PublishWithHeader,
    /// The same, with a forged position and session in the header line.
    PublishForged,
}

impl PublishPath {
    /// Whether it appends to the history of a channel that keeps one.
    pub fn appends(self) -> bool {
        !matches!(self, Self::Publish | Self::PublishWithHeader | Self::PublishForged)
    }
}

/// What the publisher knows about a publication's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It may have been published, or may be published later.
    Unknown,
    /// Redis or the node accepted it and replied, with this position.
    Accepted(Option<Position>),
    /// The run had ended, and the only attempt was refused.
    Refused,
}

/// A call about a run, other than a publication.
#[derive(Clone, Debug)]
pub struct RunCallJournal {
    pub channel: ChannelNumber,
    pub call: RunCall,
    pub started: Instant,
    pub ended: Instant,
    /// With the position of the end.
    pub outcome: PublishOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunCall {
    /// With the reason.
    End(String),
    Renew,
}

/// All publications of one publisher on one channel.
#[derive(Clone, Debug)]
pub struct PublisherJournal {
    pub channel: ChannelNumber,
    pub path: PublishPath,
    /// The client whose connections it publishes through, if that client subscribes as well.
    pub client: Option<usize>,
    /// Number `n` is at index `n - 1`.
    pub publications: Vec<JournalPublication>,
}

#[derive(Clone, Copy, Debug)]
pub struct JournalPublication {
    /// Just before the first attempt.
    pub started: Instant,
    /// When the reply arrived, or the publisher gave up.
    pub ended: Option<Instant>,
    /// Size of the payload.
    pub bytes: usize,
    /// How often it was sent, always with the same idempotency key.
    pub attempts: u32,
    pub outcome: PublishOutcome,
    /// The connection of the client that sent it, counted from 0.
    pub connection: Option<usize>,
}

/// Everything one client sent and received, in order.
#[derive(Clone, Debug, Default)]
pub struct ClientJournal {
    pub client: String,
    pub entries: Vec<(Instant, Entry)>,
    /// It was subscribed at the end of the run and had time to receive everything.
    pub settled: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A json connection to a node.
    Opened {
        node: String,
    },
    /// A plain connection, which is also a subscription.
    OpenedPlain(Box<Plain>),
    /// The client sent `subscribe`.
    Subscribe {
        id: u64,
        channel: ChannelNumber,
        since: Option<Position>,
        echo: bool,
    },
    /// The client sent `unsubscribe`.
    Unsubscribe {
        id: u64,
        channel: ChannelNumber,
    },
    Subscribed {
        id: Option<u64>,
        channel: ChannelNumber,
        position: Option<Position>,
        recovered: Option<bool>,
    },
    Unsubscribed {
        id: Option<u64>,
        channel: ChannelNumber,
    },
    Publication {
        channel: ChannelNumber,
        name: PublicationId,
        position: Option<Position>,
    },
    /// The reply to `history`.
    History(Box<HistoryReply>),
    Gap {
        channel: ChannelNumber,
        reason: String,
    },
    /// The end of a run.
    Ended {
        channel: ChannelNumber,
        reason: String,
        position: Option<Position>,
    },
    /// An `error` about a channel.
    Refused {
        id: Option<u64>,
        channel: ChannelNumber,
        why: String,
    },
    /// It stops (true) or continues reading.
    Paused(bool),
    /// The connection ended, and with it every subscription.
    Closed {
        why: String,
    },
    /// An event that no operation explains.
    Unexpected(String),
}

/// A `history` command and its reply.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryReply {
    pub channel: ChannelNumber,
    pub since: Option<Position>,
    pub publications: Vec<(Position, PublicationId)>,
    pub position: Option<Position>,
    pub recovered: Option<bool>,
    /// It extends to the end of a run, with this reason.
    pub ended: Option<String>,
}

/// How a plain connection was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    pub node: String,
    pub channel: ChannelNumber,
    pub since: Option<Position>,
    pub echo: bool,
    /// It requested a close in place of each gap.
    pub closes_at_gap: bool,
    pub position: Option<Position>,
    pub recovered: Option<bool>,
}

impl Entry {
    /// The channel of the entry; none: it concerns all channels.
    pub fn channel(&self) -> Option<ChannelNumber> {
        match self {
            Self::Subscribe { channel, .. }
            | Self::Unsubscribe { channel, .. }
            | Self::Subscribed { channel, .. }
            | Self::Unsubscribed { channel, .. }
            | Self::Publication { channel, .. }
            | Self::Gap { channel, .. }
            | Self::Ended { channel, .. }
            | Self::Refused { channel, .. } => Some(*channel),
            Self::OpenedPlain(plain) => Some(plain.channel),
            Self::History(excerpt) => Some(excerpt.channel),
            _ => None,
        }
    }

    /// A line of a journal.
    pub fn line(&self, at: Duration, channels: &[AuditChannel]) -> String {
        let at = at.as_secs_f64();
        let name = self.channel().map_or("", |number| channels[number].name.as_str());
        match self {
            Self::Opened { node } => format!("{at:9.4} open to {node}"),
            Self::OpenedPlain(it) => format!(
                "{at:9.4} {name} open to {} since {} at {}{}{}{}",
                it.node,
                shown(it.since),
                shown(it.position),
                told(it.recovered),
                if it.echo { "" } else { ", no echo" },
                if it.closes_at_gap { ", closed at gaps" } else { "" },
            ),
            Self::Subscribe { id, since, echo, .. } => {
                let echo = if *echo { "" } else { ", no echo" };
                format!("{at:9.4} {name} > subscribe #{id} since {}{echo}", shown(*since))
            }
            Self::Unsubscribe { id, .. } => format!("{at:9.4} {name} > unsubscribe #{id}"),
            Self::Subscribed { id, position, recovered, .. } => {
                let (position, recovered) = (shown(*position), told(*recovered));
                format!("{at:9.4} {name} subscribed {} at {position}{recovered}", number(*id))
            }
            Self::Unsubscribed { id, .. } => {
                format!("{at:9.4} {name} unsubscribed {}", number(*id))
            }
            Self::Publication { name: (publisher, count), position, .. } => {
                format!("{at:9.4} {name} publication {publisher}/{count} at {}", shown(*position))
            }
            Self::History(it) => format!(
                "{at:9.4} {name} history since {}: {} publications, {} to {}, at {}{}",
                shown(it.since),
                it.publications.len(),
                shown(it.publications.first().map(|first| first.0)),
                shown(it.publications.last().map(|last| last.0)),
                shown(it.position),
                told(it.recovered),
            ),
            Self::Gap { reason, .. } => format!("{at:9.4} {name} gap: {reason}"),
            Self::Ended { reason, position, .. } => {
                format!("{at:9.4} {name} ended at {}: {reason}", shown(*position))
            }
            Self::Refused { id, why, .. } => {
                format!("{at:9.4} {name} refused {}: {why}", number(*id))
            }
            Self::Paused(true) => format!("{at:9.4} stops reading"),
            Self::Paused(false) => format!("{at:9.4} continues reading"),
            Self::Closed { why } => format!("{at:9.4} closed: {why}"),
            Self::Unexpected(what) => format!("{at:9.4} unexpected: {what}"),
        }
    }
}

fn shown(position: Option<Position>) -> impl fmt::Display {
    position.map_or("-".to_owned(), |it| it.to_string())
}

fn number(id: Option<u64>) -> String {
    id.map_or(String::new(), |it| format!("#{it}"))
}

fn told(recovered: Option<bool>) -> &'static str {
    match recovered {
        Some(true) => ", recovered",
        Some(false) => ", not recovered",
        None => "",
    }
}
