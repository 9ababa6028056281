//! What a session of the protocol keeps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::heartbeat::{self, OfferedBeats, StompBeats};
use super::input::FrameInput;
use super::subscriptions::StompSubscriptions;
use super::transactions::StompTransactions;
use super::version::StompVersion;
use super::{close_code, receipts, written};
use crate::close::Close;
use crate::protocol::{Reply, ReplyError};
use crate::publication::{SessionId, User};

/// The close code after a DISCONNECT (RFC 6455 section 7.4.1).
const NORMAL: u16 = 1000;

/// The settings of a node that a session follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StompSettings {
    /// Most bytes of a frame.
    pub frame_bytes_max: usize,
    /// Most subscriptions.
    pub subscriptions_max: usize,
    /// How often the node wants to hear of clients that offer heart-beats.
    pub ping_interval: Duration,
}

/// Shared by the protocol, which reads frames and writes replies, and the stamp, which completes messages.
#[derive(Debug)]
pub struct StompSession {
    pub settings: StompSettings,
    /// None before the session begins.
    session: Option<SessionId>,
    state: Mutex<StompState>,
}

/// What changes in a session.
#[derive(Debug)]
pub struct StompState {
    pub phase: StompPhase,
    /// None: the client has not sent CONNECT.
    pub version: Option<StompVersion>,
    pub offered_beats: OfferedBeats,
    pub input: FrameInput,
    pub subscriptions: StompSubscriptions,
    pub transactions: StompTransactions,
    pub beats: StompBeats,
    /// The receipt that a DISCONNECT asks for.
    disconnect_receipt: Option<Box<str>>,
    /// The last frame before the close: an ERROR, or the RECEIPT of a DISCONNECT.
    last: Option<LastFrame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StompPhase {
    /// Before CONNECT.
    Opening,
    /// After it, before CONNECTED.
    Connecting,
    Connected,
    /// After a DISCONNECT or a fault: nothing more is read.
    Over,
}

#[derive(Debug)]
struct LastFrame {
    frame: Option<Bytes>,
    close: Close,
}

impl PartialEq for StompSession {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for StompSession {}

impl StompSession {
    pub fn new(settings: StompSettings) -> Self {
        let state = StompState {
            phase: StompPhase::Opening,
            version: None,
            offered_beats: OfferedBeats::default(),
            input: FrameInput::default(),
            subscriptions: StompSubscriptions::default(),
            transactions: StompTransactions::default(),
            beats: StompBeats::new(Instant::now()),
            disconnect_receipt: None,
            last: None,
        };
        Self { settings, session: None, state: Mutex::new(state) }
    }

    pub fn begin(self: &mut Arc<Self>, session: SessionId) {
        if let Some(this) = Arc::get_mut(self) {
            this.session = Some(session);
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, StompState> {
        // A session that panicked while it held the lock has damaged only its own state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a reply.
    pub fn reply(&self, reply: &Reply) -> Option<Bytes> {
        let mut state = self.lock();
        let version = state.version.unwrap_or(StompVersion::V10);
        match reply {
            Reply::Authenticated { user, .. } => self.connected(&mut state, user),
            Reply::Connected { .. } => self.connected(&mut state, &None),
            // It is answered after all that is in flight.
            Reply::Pong { id: Some(receipts::DISCONNECT) } => {
                let receipt = state.disconnect_receipt.take();
                let frame = receipt.map(|receipt| written::receipt(version, &receipt, &[]));
                state.end(frame, Close::Client(Some(NORMAL)));
                None
            }
            Reply::Pong { id } | Reply::Unsubscribed { id, .. } => {
                receipt_frames(version, id.as_ref(), &[])
            }
            Reply::Published { id, position } => {
                let position = position.filter(|_| id.is_some()).map(|it| it.to_string());
                let headers = position.as_deref().map(|position| ("position", position));
                receipt_frames(version, id.as_ref(), headers.as_slice())
            }
            Reply::Subscribed { channel, position, recovered, .. } => {
                Some(state.subscriptions.confirm(version, channel, *position, *recovered))
            }
            Reply::Error(error) => {
                state.refuse(error);
                None
            }
            // Of commands that it has not.
            Reply::Acknowledged
            | Reply::History { .. }
            | Reply::Presence { .. }
            | Reply::Joined { .. }
            | Reply::SubscribedPattern { .. }
            | Reply::UnsubscribedPattern { .. }
            | Reply::PatternEnded { .. } => None,
        }
    }

    fn connected(&self, state: &mut StompState, user: &User) -> Option<Bytes> {
        let version = state.version.filter(|_| state.phase == StompPhase::Connecting)?;
        state.phase = StompPhase::Connected;
        let wants = self.settings.ping_interval;
        let offered = match version {
            StompVersion::V10 => OfferedBeats::default(),
            _ => state.offered_beats,
        };
        state.beats.connected(offered, wants, Instant::now());
        let session = self.session.map(|session| session.to_string()).unwrap_or_default();
        Some(written::connected(version, &session, &heartbeat::answered(wants), user))
    }

    /// Why the session ends after a reply. None: it goes on.
    pub fn end_reason(&self) -> Option<Close> {
        self.lock().last.as_ref().map(|last| last.close)
    }

    /// The last bytes of the connection.
    pub fn last_bytes(&self, close: Close) -> Bytes {
        match &self.lock().last {
            Some(last) if last.close == close => {
                close_code::behind(last.frame.as_deref().unwrap_or_default(), close)
            }
            _ => close_code::last_frames(close),
        }
    }
}

impl StompState {
    /// Nothing more is read.
    pub fn disconnect(&mut self, receipt: Option<&str>) {
        self.phase = StompPhase::Over;
        self.disconnect_receipt = receipt.map(Into::into);
    }

    /// The first end counts.
    fn end(&mut self, frame: Option<Bytes>, close: Close) {
        self.phase = StompPhase::Over;
        self.last.get_or_insert(LastFrame { frame, close });
    }

    fn refuse(&mut self, error: &ReplyError) {
        let ReplyError { id, channel, code, message } = error;
        let message = match channel {
            Some(channel) => format!("{channel}: {message}"),
            None => message.clone(),
        };
        let receipt = receipts::on_error(id.as_ref());
        let frame = written::refusal(self.version, code.as_str(), &message, receipt);
        self.end(Some(frame), close_code::of_refusal(*code));
    }
}

/// The RECEIPT frames of a command that has succeeded.
fn receipt_frames(
    version: StompVersion,
    id: Option<&crate::protocol::Id>,
    headers: &[(&str, &str)],
) -> Option<Bytes> {
    let mut frames =
        receipts::on_success(id).map(|receipt| written::receipt(version, receipt, headers));
    let first = frames.next()?;
    let rest: Vec<Bytes> = frames.collect();
    Some(match rest.is_empty() {
        true => first,
        false => [&[first][..], &rest].concat().concat().into(),
    })
}
