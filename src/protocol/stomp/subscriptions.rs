//! The subscriptions of a session. Several may be to one channel: the node delivers a publication to the session once, and
//! the session's stamp makes a MESSAGE for each of them.

use bytes::Bytes;

use super::acknowledging::{AckMode, UnackedMessages};
use super::shared::SharedFrame;
use super::version::StompVersion;
use super::written;
use crate::framing::websocket;
use crate::publication::{Channel, PayloadKind, Position};

/// Most subscriptions of one session to one channel, because each costs a copy of every publication.
pub const PER_CHANNEL_MAX: usize = 16;

/// Longest head of a frame of the WebSocket.
const HEAD_BYTES_MAX: usize = 10;

/// The receipt ids of what tells of a gap or an end, which no client has asked for.
pub const GAP: &str = "tidegate-gap";
pub const ENDED: &str = "tidegate-ended";

/// The subscriptions of one session.
#[derive(Debug, Default)]
pub struct StompSubscriptions {
    list: Vec<StompSubscription>,
    /// The number of the newest subscription.
    numbered: u32,
    /// The number of the newest confirmation.
    confirmation: u64,
}

/// What a SUBSCRIBE asks for.
#[derive(Debug)]
pub struct RequestedSubscription {
    /// None: version 1.0 names it by its destination.
    pub id: Option<Box<str>>,
    pub destination: Box<str>,
    pub channel: Channel,
    pub mode: AckMode,
    pub receipt: Option<Box<str>>,
}

#[derive(Debug)]
struct StompSubscription {
    requested: RequestedSubscription,
    number: u32,
    phase: SubscriptionPhase,
    /// The first lines of its messages.
    prefix: Box<str>,
    /// The position of its last message.
    delivered: Option<Position>,
    unacked: UnackedMessages,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubscriptionPhase {
    /// The node has not confirmed it.
    Requested,
    /// It begins where the confirmation with this number is in the outbound queue.
    Confirmed(u64),
    Active,
    /// Too many messages are unacknowledged.
    Paused,
}

/// What follows from the end of a subscription, or of an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
pub enum ChannelNeed {
    Nothing,
    /// The session has no other subscription to the channel.
    Unsubscribe(Channel),
    /// The channel is to be read again from this position.
    Resume(Channel, Position),
}

impl StompSubscriptions {
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn of_channel(&self, channel: &Channel) -> usize {
        self.list.iter().filter(|it| it.requested.channel == *channel).count()
    }

    /// Whether a subscription to the channel is not confirmed yet.
    pub fn is_pending(&self, channel: &Channel) -> bool {
        let is_requested = |it: &StompSubscription| it.phase == SubscriptionPhase::Requested;
        self.list.iter().any(|it| is_requested(it) && it.requested.channel == *channel)
    }

    /// Whether a subscription has this id, or without an id this destination.
    pub fn has(&self, id: Option<&str>, destination: &str) -> bool {
        self.list.iter().any(|it| it.requested.is_named(id, destination))
    }

    pub fn add(&mut self, requested: RequestedSubscription, version: StompVersion) {
        self.numbered = self.numbered.wrapping_add(1);
        let mut prefix =
            format!("MESSAGE\ndestination:{}\n", version.escaped(&requested.destination));
        if let Some(id) = &requested.id {
            prefix.push_str(&format!("subscription:{}\n", version.escaped(id)));
        }
        // Most sessions have few, and a vector's first growth would allocate room for four.
        self.list.reserve_exact(1);
        self.list.push(StompSubscription {
            requested,
            number: self.numbered,
            phase: SubscriptionPhase::Requested,
            prefix: prefix.into(),
            delivered: None,
            unacked: UnackedMessages::default(),
        });
    }

    /// Ends a subscription. None: there is none. `Err`: it is not confirmed yet.
    pub fn remove(
        &mut self,
        id: Option<&str>,
        destination: &str,
    ) -> Result<Option<ChannelNeed>, ()> {
        let at = self.list.iter().position(|it| it.requested.is_named(id, destination));
        let Some(at) = at else { return Ok(None) };
        if self.list[at].phase == SubscriptionPhase::Requested {
            return Err(());
        }
        let channel = self.list.swap_remove(at).requested.channel;
        if self.list.is_empty() {
            self.list = Vec::new();
        }
        Ok(Some(match self.of_channel(&channel) {
            0 => ChannelNeed::Unsubscribe(channel),
            _ => ChannelNeed::Nothing,
        }))
    }

    /// The node has confirmed the channel. Returns the frame that marks the begin in the outbound queue.
    pub fn confirm(
        &mut self,
        version: StompVersion,
        channel: &Channel,
        position: Option<Position>,
        recovered: Option<bool>,
    ) -> Bytes {
        self.confirmation += 1;
        let position = position.map(|position| position.to_string());
        let recovered = recovered.map(|recovered| if recovered { "true" } else { "false" });
        let mut replies = Vec::new();
        let requested = |it: &&mut StompSubscription| {
            it.phase == SubscriptionPhase::Requested && it.requested.channel == *channel
        };
        for subscription in self.list.iter_mut().filter(requested) {
            subscription.phase = SubscriptionPhase::Confirmed(self.confirmation);
            if let Some(receipt) = subscription.requested.receipt.take() {
                let position = position.as_deref().map(|it| ("position", it));
                let recovered = recovered.map(|it| ("recovered", it));
                let headers: Vec<_> = position.into_iter().chain(recovered).collect();
                replies.extend_from_slice(&written::receipt(version, &receipt, &headers));
            }
            if recovered == Some("false") {
                let headers = notice_lines(GAP, "not_recovered", None);
                replies.extend_from_slice(&subscription.notice(headers.as_bytes()));
            }
        }
        super::shared::begin(self.confirmation, &replies)
    }

    /// What a session gets for a frame of its outbound queue. None: nothing.
    pub fn stamped(&mut self, frame: Bytes) -> Option<Bytes> {
        match SharedFrame::of(frame)? {
            SharedFrame::Ready(frame) => Some(frame),
            SharedFrame::Begin { confirmation, replies } => {
                for subscription in &mut self.list {
                    if let SubscriptionPhase::Confirmed(number) = subscription.phase
                        && number <= confirmation
                    {
                        subscription.phase = SubscriptionPhase::Active;
                    }
                }
                (!replies.is_empty()).then_some(replies)
            }
            SharedFrame::Notice { channel, headers } => {
                let live = self.list.iter().filter(|it| it.is_live_on(&channel));
                let out: Vec<u8> = live.flat_map(|it| it.notice(&headers)).collect();
                (!out.is_empty()).then(|| out.into())
            }
            SharedFrame::Publication { channel, kind, position, rest } => {
                let mut out = Vec::new();
                for it in self.list.iter_mut().filter(|it| it.is_live_on(&channel)) {
                    it.add_message(&mut out, kind, position, &rest);
                }
                (!out.is_empty()).then(|| out.into())
            }
        }
    }

    /// The client has acknowledged a message. `subscription`: its number or, of older versions, its id.
    pub fn acknowledge(&mut self, acknowledged: &AcknowledgedMessage<'_>) -> ChannelNeed {
        let Ok(position) = acknowledged.message_id.parse() else { return ChannelNeed::Nothing };
        let found = self.list.iter_mut().find(|it| it.is_meant(acknowledged, position));
        let Some(subscription) = found else { return ChannelNeed::Nothing };
        subscription.unacked.remove(position, subscription.requested.mode);
        let is_paused = subscription.phase == SubscriptionPhase::Paused;
        match subscription.delivered {
            Some(delivered) if is_paused && subscription.unacked.has_room_again() => {
                // Others of the channel go on: they get no message that they had.
                subscription.phase = SubscriptionPhase::Requested;
                ChannelNeed::Resume(subscription.requested.channel.clone(), delivered)
            }
            _ => ChannelNeed::Nothing,
        }
    }
}

/// What an ACK or NACK names.
#[derive(Debug, PartialEq, Eq)]
pub struct AcknowledgedMessage<'a> {
    /// Version 1.2: the number of the subscription, which stands in the header `ack` of the message.
    pub number: Option<u32>,
    /// Version 1.1: the id of the subscription.
    pub subscription: Option<&'a str>,
    pub message_id: &'a str,
}

impl RequestedSubscription {
    fn is_named(&self, id: Option<&str>, destination: &str) -> bool {
        match id {
            Some(id) => self.id.as_deref() == Some(id),
            None => self.id.is_none() && *self.destination == *destination,
        }
    }
}

impl StompSubscription {
    /// Whether it gets what is in the outbound queue for the channel.
    fn is_live_on(&self, channel: &[u8]) -> bool {
        self.phase == SubscriptionPhase::Active
            && self.requested.channel.as_str().as_bytes() == channel
    }

    fn is_meant(&self, acknowledged: &AcknowledgedMessage<'_>, position: Position) -> bool {
        let AcknowledgedMessage { number, subscription, .. } = acknowledged;
        match (number, subscription) {
            (Some(number), _) => self.number == *number,
            (None, Some(id)) => self.requested.id.as_deref() == Some(id),
            // Version 1.0 names the message alone.
            (None, None) => self.unacked.contains(position),
        }
    }

    /// A RECEIPT with the headers of the subscription.
    fn notice(&self, headers: &[u8]) -> Bytes {
        let own = self.prefix.strip_prefix("MESSAGE\n").unwrap_or_default();
        let frame = [b"RECEIPT\n", headers, own.as_bytes(), b"\n\0"].concat();
        websocket::message(PayloadKind::Text, &frame)
    }

    fn add_message(
        &mut self,
        out: &mut Vec<u8>,
        kind: PayloadKind,
        position: Option<Position>,
        rest: &[u8],
    ) {
        if position.is_some() && position <= self.delivered {
            return;
        }
        let ack = (self.requested.mode != AckMode::Auto).then(|| ack_line(self.number, rest));
        if ack.is_some()
            && let Some(position) = position
            && !self.unacked.add(position)
        {
            // What is not delivered is read again from here once the client has acknowledged enough.
            self.phase = SubscriptionPhase::Paused;
            return;
        }
        self.delivered = position.or(self.delivered);
        let ack = ack.unwrap_or_default();
        let length = self.prefix.len() + ack.len() + rest.len();
        out.reserve(HEAD_BYTES_MAX + length);
        websocket::put_head(out, kind, length);
        for part in [self.prefix.as_bytes(), ack.as_bytes(), rest] {
            out.extend_from_slice(part);
        }
    }
}

/// The header `ack`: the number of the subscription and the id of the message, which is in the first line of `rest`.
fn ack_line(number: u32, rest: &[u8]) -> String {
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let id = line.strip_prefix(b"message-id:").unwrap_or_default();
    format!("ack:{number}@{}\n", String::from_utf8_lossy(id))
}

/// The lines of a RECEIPT that no client has asked for.
pub fn notice_lines(receipt: &str, reason: &str, position: Option<Position>) -> String {
    let position = position.map(|it| format!("position:{it}\n")).unwrap_or_default();
    // A reason that a version would escape is that of a run's worker.
    let reason: String = reason
        .chars()
        .map(|c| {
            if super::shared::is_same_in_each_version(c.encode_utf8(&mut [0; 4])) { c } else { ' ' }
        })
        .collect();
    format!("receipt-id:{receipt}\nreason:{reason}\n{position}")
}
