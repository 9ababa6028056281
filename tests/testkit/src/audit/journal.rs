//! What clients and publishers write down, and nothing else: the audit sees only this.

use std::fmt;
use std::time::{Duration, Instant};

use crate::audit::channels::{AuditChannel, ChannelNumber};
use crate::log::{Position, PublisherNumber};

/// One publication by its publisher and number. Numbers begin at 1 and have no holes.
pub type PublicationId = (PublisherNumber, u64);

/// How a publisher reaches Redis or the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishPath {
    /// A json session.
    Json,
    /// A plain session, which gets no answers.
    Plain,
    /// `POST /api/publish` of the internal listener.
    Api,
    /// `FCALL tidegate_publish`.
    Function,
    /// `PUBLISH` of the payload as it is.
    Publish,
    /// `PUBLISH` with a header line before the payload.
    PublishWithHeader,
    /// The same, and the line claims a position and another's session.
    PublishForged,
}

impl PublishPath {
    /// Does it append to the history of a channel that keeps one?
    pub fn appends(self) -> bool {
        !matches!(self, Self::Publish | Self::PublishWithHeader | Self::PublishForged)
    }
}

/// What is known of a publication's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It may have been published or may yet be.
    Unknown,
    /// Redis or the node took it, and said so; with the position it told.
    Accepted(Option<Position>),
}

/// All that one publisher sent, on one channel.
#[derive(Clone, Debug)]
pub struct PublisherJournal {
    pub channel: ChannelNumber,
    pub path: PublishPath,
    /// The client whose connections it publishes through, if it subscribes too.
    pub client: Option<usize>,
    /// Number `n` is at `n - 1`.
    pub publications: Vec<JournalPublication>,
}

#[derive(Clone, Copy, Debug)]
pub struct JournalPublication {
    /// Just before it was sent first.
    pub started: Instant,
    /// When the answer came, or the publisher gave up.
    pub ended: Option<Instant>,
    /// Of the payload.
    pub bytes: usize,
    /// How often it was sent, always with the same idempotency key.
    pub attempts: u32,
    pub outcome: PublishOutcome,
    /// The connection of the client it went through, counted from 0.
    pub connection: Option<usize>,
}

/// All that one client did and saw, in order.
#[derive(Clone, Debug, Default)]
pub struct ClientJournal {
    pub client: String,
    pub entries: Vec<(Instant, Entry)>,
    /// It stayed to the end of the run, subscribed, and had time to get everything.
    pub settled: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A json connection to a node.
    Opened {
        node: String,
    },
    /// A plain connection, which is a subscription by itself.
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
    /// The answer to `history`.
    History(Box<HistoryReply>),
    Gap {
        channel: ChannelNumber,
        reason: String,
    },
    /// An `error` about a channel.
    Refused {
        id: Option<u64>,
        channel: ChannelNumber,
        why: String,
    },
    /// It stops reading, or reads on.
    Paused(bool),
    /// The connection is gone, and every subscription with it.
    Closed {
        why: String,
    },
    /// What nothing here explains.
    Unexpected(String),
}

/// What `history` was asked and answered.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryReply {
    pub channel: ChannelNumber,
    pub since: Option<Position>,
    pub publications: Vec<(Position, PublicationId)>,
    pub position: Option<Position>,
    pub recovered: Option<bool>,
}

/// How a plain connection was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    pub node: String,
    pub channel: ChannelNumber,
    pub since: Option<Position>,
    pub echo: bool,
    /// It asked to be closed where its client would be told of a gap.
    pub closes_at_gap: bool,
    pub position: Option<Position>,
    pub recovered: Option<bool>,
}

impl Entry {
    /// The channel it is about. None: it is about all.
    pub fn channel(&self) -> Option<ChannelNumber> {
        match self {
            Self::Subscribe { channel, .. }
            | Self::Unsubscribe { channel, .. }
            | Self::Subscribed { channel, .. }
            | Self::Unsubscribed { channel, .. }
            | Self::Publication { channel, .. }
            | Self::Gap { channel, .. }
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
            Self::Refused { id, why, .. } => {
                format!("{at:9.4} {name} refused {}: {why}", number(*id))
            }
            Self::Paused(true) => format!("{at:9.4} stops reading"),
            Self::Paused(false) => format!("{at:9.4} reads on"),
            Self::Closed { why } => format!("{at:9.4} closed: {why}"),
            Self::Unexpected(what) => format!("{at:9.4} odd: {what}"),
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
