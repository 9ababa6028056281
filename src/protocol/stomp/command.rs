//! Reads the frames of clients.

use bytes::Bytes;
use tokio::time::Instant;

use super::acknowledging::AckMode;
use super::frame::ClientFrame;
use super::headers::{
    FrameRefused, destination, idempotency_key, kind_of_type, required, start, subscription_id,
};
use super::heartbeat::OfferedBeats;
use super::receipts;
use super::session::{StompPhase, StompSession, StompSettings, StompState};
use super::subscriptions::{
    AcknowledgedMessage, ChannelNeed, PER_CHANNEL_MAX, RequestedSubscription,
};
use super::transactions::HeldFrame;
use super::version::StompVersion;
use crate::protocol::{Command, Decoded, Id, Message, ReplyError, Token};
use crate::publication::{PayloadKind, Publication, ReplayStart};

/// The commands of a message, up to the first frame that ends the session.
pub fn decode(session: &StompSession, message: Message) -> Decoded {
    let mut state = session.lock();
    state.beats.received(Instant::now());
    let mut outcomes = Vec::new();
    if state.phase == StompPhase::Over {
        return Ok(outcomes);
    }
    let kind = message.kind;
    let mut unread = state.input.add(message.payload);
    let arrived = unread.len();
    let end = loop {
        if state.phase == StompPhase::Over {
            break Ok(());
        }
        match unread.next(session.settings.frame_bytes_max) {
            Ok(None) => {
                state.input.keep(unread);
                break Ok(());
            }
            Ok(Some((frame, parts))) => {
                let body = body_of(&frame, parts.body, arrived);
                let read = ClientFrame::read(&frame[parts.head], body, state.version);
                let mut reader = FrameReader {
                    state: &mut state,
                    settings: &session.settings,
                    kind,
                    commands: Vec::new(),
                };
                let read = read.map_err(|fault| (fault.into(), None)).and_then(|frame| {
                    let id = || receipts::id_of(frame.filled("receipt"), &[]);
                    reader.read(&frame).map_err(|refused| (refused, id()))
                });
                outcomes.extend(reader.commands.into_iter().map(Ok));
                if let Err(refused) = read {
                    break Err(refused);
                }
            }
            Err(fault) => break Err((fault.into(), None)),
        }
    };
    if let Err((FrameRefused { code, message }, id)) = end {
        state.phase = StompPhase::Over;
        outcomes.push(Err(ReplyError { id, channel: None, code, message }));
    }
    Ok(outcomes)
}

/// A copy if the body is small in the `arrived` bytes that it shares, because these live as long as the body.
fn body_of(frame: &Bytes, body: std::ops::Range<usize>, arrived: usize) -> Bytes {
    match body.len() < arrived / 2 {
        true => Bytes::copy_from_slice(&frame[body]),
        false => frame.slice(body),
    }
}

/// Reads one frame.
struct FrameReader<'a> {
    state: &'a mut StompState,
    settings: &'a StompSettings,
    /// Of the WebSocket's message.
    kind: PayloadKind,
    commands: Vec<Command>,
}

impl FrameReader<'_> {
    fn read(&mut self, frame: &ClientFrame<'_>) -> Result<(), FrameRefused> {
        let version = match (self.state.phase, frame.command) {
            (StompPhase::Opening, "CONNECT" | "STOMP") => return self.connect(frame),
            (StompPhase::Opening, _) => {
                return Err(FrameRefused::bad("the first frame is CONNECT or STOMP"));
            }
            (StompPhase::Connecting, _) => return Err(FrameRefused::bad("wait for CONNECTED")),
            (_, "CONNECT" | "STOMP") => {
                return Err(FrameRefused::bad("the connection has had its CONNECT"));
            }
            _ => self.state.version.unwrap_or(StompVersion::V10),
        };
        match frame.command {
            "SEND" => self.send(frame),
            "SUBSCRIBE" => self.subscribe(frame, version),
            "UNSUBSCRIBE" => self.unsubscribe(frame, version),
            "ACK" => self.acknowledge(frame, version),
            "NACK" if version > StompVersion::V10 => self.acknowledge(frame, version),
            "BEGIN" => {
                self.state.transactions.begin(required(frame, "transaction")?)?;
                self.done(frame)
            }
            "COMMIT" => self.commit(frame),
            "ABORT" => {
                self.state.transactions.end(required(frame, "transaction")?)?;
                self.done(frame)
            }
            "DISCONNECT" => {
                self.state.disconnect(frame.filled("receipt"));
                self.commands.push(Command::Ping { id: Some(receipts::DISCONNECT) });
                Ok(())
            }
            other => {
                let end = other.floor_char_boundary(40);
                Err(FrameRefused::bad(format!(
                    "{:?} is no command of STOMP {}",
                    &other[..end],
                    version.as_str()
                )))
            }
        }
    }

    /// The frame is answered without the broker. It counts as a command, also without a receipt.
    fn done(&mut self, frame: &ClientFrame<'_>) -> Result<(), FrameRefused> {
        self.commands.push(Command::Ping { id: receipts::id_of_one(frame.filled("receipt")) });
        Ok(())
    }

    fn connect(&mut self, frame: &ClientFrame<'_>) -> Result<(), FrameRefused> {
        let version = StompVersion::negotiate(frame.header("accept-version")).ok_or_else(|| {
            FrameRefused::bad(format!("accept-version must name one of {}", StompVersion::LIST))
        })?;
        let offered = OfferedBeats::read(frame.filled("heart-beat"));
        self.state.offered_beats = offered.map_err(|error| FrameRefused::bad(error.to_string()))?;
        self.state.version = Some(version);
        self.state.phase = StompPhase::Connecting;
        let token = frame.filled("passcode").map(|token| Token(token.to_owned()));
        self.commands.push(Command::Connect { id: None, token });
        Ok(())
    }

    fn send(&mut self, frame: &ClientFrame<'_>) -> Result<(), FrameRefused> {
        let (_, channel) = destination(frame)?;
        let receipt = frame.filled("receipt");
        let publication = Publication {
            id: idempotency_key(frame)?,
            traceparent: frame.header("traceparent").and_then(|text| text.parse().ok()),
            ..Publication::new(frame.body.clone(), self.payload_kind(frame)?)
        };
        match frame.filled("transaction") {
            Some(transaction) => {
                let payload = Bytes::copy_from_slice(&publication.payload);
                let publication = Publication { payload, ..publication };
                let receipt = receipt.map(Into::into);
                let held = HeldFrame::Send { channel, publication, receipt };
                self.state.transactions.add(transaction, held)?;
                self.commands.push(Command::Ping { id: None });
            }
            None => {
                let id = receipts::id_of_one(receipt);
                self.commands.push(Command::Publish { id, channel, publication });
            }
        }
        Ok(())
    }

    /// Whether the body is a text, by its content type, or else by the kind of the WebSocket's message.
    fn payload_kind(&self, frame: &ClientFrame<'_>) -> Result<PayloadKind, FrameRefused> {
        let kind = frame.filled("content-type").map_or(self.kind, kind_of_type);
        match kind {
            PayloadKind::Binary => Ok(kind),
            _ if str::from_utf8(&frame.body).is_ok() => Ok(PayloadKind::Text),
            _ => Err(FrameRefused::bad(
                "the body is no UTF-8: send it with content-type:application/octet-stream",
            )),
        }
    }

    fn subscribe(
        &mut self,
        frame: &ClientFrame<'_>,
        version: StompVersion,
    ) -> Result<(), FrameRefused> {
        let (destination, channel) = destination(frame)?;
        let id = subscription_id(frame, version)?;
        if frame.filled("selector").is_some() {
            return Err(FrameRefused::bad(
                "there are no selectors: subscribe to a channel of its own",
            ));
        }
        let mode = AckMode::read(frame.filled("ack"));
        let mode =
            mode.ok_or_else(|| FrameRefused::bad("ack must be auto, client or client-individual"))?;
        let start = start(frame)?;
        let subscriptions = &mut self.state.subscriptions;
        if subscriptions.has(id, destination) {
            return Err(FrameRefused::bad("a subscription of this id exists"));
        }
        if subscriptions.len() >= self.settings.subscriptions_max {
            let max = self.settings.subscriptions_max;
            return Err(FrameRefused::too_many(format!(
                "at most session.channels_max = {max} subscriptions per connection"
            )));
        }
        let others = subscriptions.of_channel(&channel);
        if others >= PER_CHANNEL_MAX {
            return Err(FrameRefused::too_many(format!(
                "at most {PER_CHANNEL_MAX} subscriptions per connection to one channel"
            )));
        }
        if others > 0 && start.is_some() {
            return Err(FrameRefused::bad(
                "since and last are for the connection's first subscription to a channel",
            ));
        }
        let receipt = frame.filled("receipt");
        let requested = RequestedSubscription {
            id: id.map(Into::into),
            destination: destination.into(),
            channel: channel.clone(),
            mode,
            receipt: receipt.map(Into::into),
        };
        let is_pending = subscriptions.is_pending(&channel);
        subscriptions.add(requested, version);
        // The confirmation of the earlier one is that of this one too.
        self.commands.push(match is_pending {
            true => Command::Ping { id: None },
            false => {
                let id = receipts::id_of(receipt, &[]);
                Command::Subscribe { id, channel, start, echo: true, grant: None }
            }
        });
        Ok(())
    }

    fn unsubscribe(
        &mut self,
        frame: &ClientFrame<'_>,
        version: StompVersion,
    ) -> Result<(), FrameRefused> {
        let id = match (frame.filled("id"), version) {
            (None, StompVersion::V10) => None,
            _ => Some(required(frame, "id")?),
        };
        let destination = if id.is_none() { required(frame, "destination")? } else { "" };
        let removed = self.state.subscriptions.remove(id, destination);
        let removed = removed.map_err(|_| {
            FrameRefused::bad("the subscription is not confirmed yet: wait for its RECEIPT")
        })?;
        match removed {
            None => Err(FrameRefused::bad("there is no such subscription")),
            Some(ChannelNeed::Unsubscribe(channel)) => {
                let id = receipts::id_of_one(frame.filled("receipt"));
                self.commands.push(Command::Unsubscribe { id, channel });
                Ok(())
            }
            Some(_) => self.done(frame),
        }
    }

    /// ACK and NACK: a message that is not acknowledged is in the history, and is not sent again.
    fn acknowledge(
        &mut self,
        frame: &ClientFrame<'_>,
        version: StompVersion,
    ) -> Result<(), FrameRefused> {
        let (id, message_id) = match version {
            StompVersion::V12 => (Some(required(frame, "id")?), None),
            _ => (None, Some(required(frame, "message-id")?)),
        };
        let subscription = match version {
            StompVersion::V11 => Some(required(frame, "subscription")?),
            _ => frame.filled("subscription"),
        };
        match frame.filled("transaction") {
            Some(transaction) => {
                let held = HeldFrame::Acknowledgement {
                    id: id.map(Into::into),
                    subscription: subscription.map(Into::into),
                    message_id: message_id.map(Into::into),
                };
                self.state.transactions.add(transaction, held)?;
            }
            None => self.apply(id, subscription, message_id),
        }
        self.done(frame)
    }

    fn apply(&mut self, id: Option<&str>, subscription: Option<&str>, message_id: Option<&str>) {
        let of_id = id.and_then(|id| id.split_once('@'));
        let number = of_id.and_then(|(number, _)| number.parse().ok());
        let message_id = of_id.map(|(_, message)| message).or(message_id).unwrap_or_default();
        let acknowledged = AcknowledgedMessage { number, subscription, message_id };
        if let ChannelNeed::Resume(channel, position) =
            self.state.subscriptions.acknowledge(&acknowledged)
        {
            let (start, id) = (Some(ReplayStart::After(position)), None);
            self.commands.push(Command::Unsubscribe { id: None, channel: channel.clone() });
            self.commands.push(Command::Subscribe { id, channel, start, echo: true, grant: None });
        }
    }

    /// Sends what the transaction holds. Its receipt follows that of its last frame.
    fn commit(&mut self, frame: &ClientFrame<'_>) -> Result<(), FrameRefused> {
        let frames = self.state.transactions.end(required(frame, "transaction")?)?;
        let receipt = frame.filled("receipt");
        let is_send = |frame: &HeldFrame| matches!(frame, HeldFrame::Send { .. });
        let mut sends = frames.iter().filter(|frame| is_send(frame)).count();
        if sends == 0 {
            self.done(frame)?;
        }
        for held in frames {
            match held {
                HeldFrame::Acknowledgement { id, subscription, message_id } => {
                    self.apply(id.as_deref(), subscription.as_deref(), message_id.as_deref());
                }
                HeldFrame::Send { channel, publication, receipt: own } => {
                    sends -= 1;
                    let last = receipt.filter(|_| sends == 0);
                    let receipts: Vec<&str> = own.as_deref().into_iter().chain(last).collect();
                    let id: Option<Id> = receipts::id_of(receipt.or(own.as_deref()), &receipts);
                    self.commands.push(Command::Publish { id, channel, publication });
                }
            }
        }
        Ok(())
    }
}
