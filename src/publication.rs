//! The types that all modules share: channels, publications, positions, users, nodes, sessions and traces.

mod end_reason;
mod message_properties;
mod position;
mod replay_start;
mod text_pieces;
mod traceparent;
mod update_fields;
mod user_info;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

pub use self::end_reason::{EndReason, InvalidReason};
pub use self::message_properties::{MessageProperties, PROPERTIES_BYTES_MAX};
pub use self::position::{InvalidPosition, Position};
pub use self::replay_start::{InvalidCount, InvalidStart, ReplayStart};
pub use self::text_pieces::{Piece, TextPieces, as_text_part, typed_part_type};
pub use self::traceparent::{InvalidTraceparent, Traceparent};
pub use self::update_fields::{InvalidEventText, UpdateFields};
pub use self::user_info::UserInfo;

/// A channel's name: 1 to 255 bytes of UTF-8 without white space or control characters.
///
/// Cheap to clone: the text is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Arc<str>);

/// The text is not a valid channel name; the message says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a channel name is 1 to 255 bytes of UTF-8 without white space or control characters")]
pub struct InvalidChannel;

impl Channel {
    /// Longest name, in bytes.
    pub const BYTES_MAX: usize = 255;

    pub fn new(name: &str) -> Result<Self, InvalidChannel> {
        let fits = !name.is_empty() && name.len() <= Self::BYTES_MAX;
        if fits && !name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidChannel)
        }
    }

    /// The node's own channel for probes. The space makes the name unusable for clients and services.
    pub fn of_probe(node: NodeId, number: u32) -> Self {
        Self(format!("probe {number} {node}").into())
    }

    /// Whether the name is that of a probe channel.
    pub fn is_probe(name: &str) -> bool {
        name.starts_with("probe ")
    }

    /// A channel for messages between nodes. The space makes the name unusable for clients and services.
    pub fn internal(name: &str) -> Self {
        debug_assert!(Self::is_internal(name), "{name} is a valid client channel");
        Self(name.into())
    }

    /// Whether the name is that of an internal channel, for probes or anything else.
    pub fn is_internal(name: &str) -> bool {
        name.contains(' ')
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the publisher sent text or bytes. Decides between a text and a binary frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// Valid UTF-8, which the constructors of [`Publication`] ensure.
    Text,
    /// A part of a longer text, also if it is JSON by itself: `12` and ` 12` are not the same.
    TextPart,
    Binary,
}

/// One payload for a channel's subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub payload: Bytes,
    pub kind: PayloadKind,
    /// The session that sent it, for `echo: false`. None: a service sent it.
    pub session: Option<SessionId>,
    /// The authenticated user who sent it.
    pub user: User,
    /// When the first node received it, in Unix microseconds.
    pub sent_at: Option<u64>,
    /// Idempotency key: a publication with the same key is published once within the window.
    pub id: Option<Arc<str>>,
    /// What its publisher says of it besides the payload. None: nothing, as of most. Boxed for that reason.
    pub update: Option<Box<UpdateFields>>,
    /// What its publisher says of it. None: nothing.
    pub properties: Option<Arc<MessageProperties>>,
    /// Its trace, and the parent span of everything that is done with it.
    pub traceparent: Option<Traceparent>,
    /// Its position in the channel's history. None: the channel keeps none, or a service published past it.
    pub position: Option<Position>,
    /// The last position of the previous epoch, if this publication is the first of an epoch that continues
    /// it. None: it continues within its epoch, or begins a history.
    pub previous: Option<Position>,
    /// It is the first of an epoch that began because the rules changed: publications between the previous
    /// epoch and this one may be in no history.
    pub rules_changed: bool,
    /// Some: it is the end of a run, and nothing follows. Its payload is empty, and it is no publication to
    /// subscribers. A publication on its way to the broker may have a payload: then that is the last
    /// publication, and the end follows it.
    pub end: Option<EndReason>,
    /// A node or a function of the node's library published it, so that its fields are reliable: if it has no
    /// position, the history does not contain it.
    pub signed: bool,
}

impl Publication {
    /// A publication of which only the payload is known. Text if the payload is UTF-8.
    pub fn bare(payload: Bytes) -> Self {
        let kind = match std::str::from_utf8(&payload) {
            Ok(_) => PayloadKind::Text,
            Err(_) => PayloadKind::Binary,
        };
        Self::new(payload, kind)
    }

    /// The owner of its idempotency key.
    pub fn publisher(&self) -> Publisher {
        match (&self.user, self.session) {
            (Some(user), _) => Publisher::User(user.clone()),
            (None, Some(_)) => Publisher::Anonymous,
            (None, None) => Publisher::Service,
        }
    }

    /// Whether only clients whose token lists the channel get it.
    pub fn is_private(&self) -> bool {
        self.update.as_ref().is_some_and(|update| update.is_private)
    }

    /// Sets the time, in the first node that receives it.
    pub fn sent_now(self) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { sent_at: u64::try_from(now.as_micros()).ok(), ..self }
    }

    /// Whether it is the publication directly after `last` in the channel's history.
    pub fn follows(&self, last: Position) -> bool {
        let Some(position) = self.position else { return false };
        let next = position.epoch == last.epoch && Some(position.seq) == last.seq.checked_add(1);
        next || self.previous == Some(last)
    }

    /// The position that it follows. None: it is in no history, or nothing precedes it in one.
    pub fn position_before(&self) -> Option<Position> {
        let position = self.position?;
        self.previous.or_else(|| Some(Position { seq: position.seq.checked_sub(1)?, ..position }))
    }

    pub fn new(payload: Bytes, kind: PayloadKind) -> Self {
        Self {
            payload,
            kind,
            session: None,
            user: None,
            sent_at: None,
            id: None,
            update: None,
            properties: None,
            traceparent: None,
            position: None,
            previous: None,
            rules_changed: false,
            end: None,
            signed: false,
        }
    }
}

/// The owner of idempotency keys. Each owner has its own keys, so that one owner's key never suppresses
/// another's publication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Publisher {
    User(Arc<str>),
    /// All sessions without a user together. A key of a session of its own would end with the connection, so a
    /// publication that is sent again after a reconnect would be published twice.
    Anonymous,
    /// All services together, because they cannot be distinguished.
    Service,
}

/// A user's name from its token. None: a session without a user.
pub type User = Option<Arc<str>>;

/// A user in a channel, or all sessions without a user together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user: User,
    /// The number of sessions. Zero, when a node writes its members: the user has left.
    pub sessions: u32,
    /// What the user's newest token says of the user.
    pub info: Option<UserInfo>,
}

/// The members of a channel, over all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Sorted by user, those without one first; each user once.
    pub list: Vec<Member>,
    /// The channel has more members than a reply may hold: users are missing, and those listed may have more
    /// sessions.
    pub truncated: bool,
}

/// A change of a user's presence in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Join,
    Leave,
}

/// The id of a running node: 48 random bits, written as twelve hexadecimal digits. New at every start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u64);

impl NodeId {
    const BITS: u32 = 48;

    pub fn random() -> Self {
        Self(rand::random::<u64>() >> (u64::BITS - Self::BITS))
    }

    /// As a number of 48 bits.
    pub fn number(self) -> u64 {
        self.0
    }

    /// None: the number has more than 48 bits.
    pub fn of_number(number: u64) -> Option<Self> {
        (number >> Self::BITS == 0).then_some(Self(number))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// The text is not a node's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignNode;

impl FromStr for NodeId {
    type Err = ForeignNode;

    fn from_str(text: &str) -> Result<Self, ForeignNode> {
        let is_name = text.len() == (Self::BITS / 4) as usize
            && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_name);
        number.map(Self).ok_or(ForeignNode)
    }
}

/// The id of a session in the fleet: its node and a number unique on that node, written `<node>-<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    pub node: NodeId,
    pub number: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.node, self.number)
    }
}

/// The text is not a session's id; services may write any text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignSession;

impl FromStr for SessionId {
    type Err = ForeignSession;

    fn from_str(text: &str) -> Result<Self, ForeignSession> {
        let (node, number) = text.split_once('-').ok_or(ForeignSession)?;
        let node = node.parse().map_err(|_| ForeignSession)?;
        let number = u64::from_str_radix(number, 16).map_err(|_| ForeignSession)?;
        Ok(Self { node, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_names_are_bounded_without_white_space_or_control_characters() {
        assert!(Channel::new("chat:1/room").is_ok());
        assert!(Channel::new(&"x".repeat(255)).is_ok());
        for bad in ["", "a b", "a\tb", "a\u{7}", "a\u{a0}b", &"x".repeat(256)] {
            assert_eq!(Channel::new(bad), Err(InvalidChannel), "{bad:?}");
        }
    }

    #[test]
    fn no_publication_follows_the_largest_position() {
        let at = |text: &str| text.parse::<Position>().ok();
        let publication = |position| Publication { position, ..Publication::bare(Bytes::new()) };
        let last = at("1-18446744073709551615").unwrap();
        assert!(!publication(at("1-0")).follows(last));
        assert!(publication(at("1-2")).follows(at("1-1").unwrap()));
    }

    #[test]
    fn session_ids_round_trip_and_foreign_texts_are_refused() {
        let session = SessionId { node: NodeId::random(), number: 0x2a };
        assert_eq!(session.to_string().parse(), Ok(session));
        for foreign in ["", "worker-7", "zz", "0123456789ab", "0123456789abc-1"] {
            assert_eq!(foreign.parse::<SessionId>(), Err(ForeignSession), "{foreign:?}");
        }
    }

    #[test]
    fn a_bare_payload_is_text_only_if_it_is_utf8() {
        assert_eq!(
            Publication::bare(Bytes::from_static("héllo".as_bytes())).kind,
            PayloadKind::Text
        );
        assert_eq!(Publication::bare(Bytes::from_static(b"\xff\x00")).kind, PayloadKind::Binary);
        assert_eq!(Publication::bare(Bytes::new()).kind, PayloadKind::Text);
    }
}
