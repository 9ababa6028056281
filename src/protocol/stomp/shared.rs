//! What all sessions of the protocol share of a message: a frame that is not yet one of a WebSocket. The session's stamp
//! makes a MESSAGE, or what tells of a gap or an end, of it for each of its subscriptions.
//!
//! The first byte tells the kind. It is below 0x80, which no frame of a server's WebSocket begins with.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BufMut, Bytes};

use crate::publication::{PayloadKind, Position, Publication};

const PUBLICATION: u8 = 1;
const NOTICE: u8 = 2;
const BEGIN: u8 = 3;

/// What a frame of the outbound queue is.
#[derive(Debug)]
pub enum SharedFrame {
    /// Headers and body of a MESSAGE, without those that differ between subscriptions.
    Publication {
        channel: Bytes,
        kind: PayloadKind,
        /// None: it is in no history.
        position: Option<Position>,
        /// Begins with the header `message-id`, ends with the NUL.
        rest: Bytes,
    },
    /// A RECEIPT that no client has asked for: what happened to the channel, as its headers without those of the subscription.
    Notice { channel: Bytes, headers: Bytes },
    /// The subscriptions that were confirmed up to this number begin here. `replies`: frames of the WebSocket.
    Begin { confirmation: u64, replies: Bytes },
    /// A frame of the WebSocket.
    Ready(Bytes),
}

impl SharedFrame {
    /// Reads what the functions of this file have written.
    pub fn of(mut frame: Bytes) -> Option<Self> {
        let kind = *frame.first()?;
        if kind & 0x80 != 0 {
            return Some(Self::Ready(frame));
        }
        frame.advance(1);
        Some(match kind {
            PUBLICATION => {
                let is_binary = frame.try_get_u8().ok()? != 0;
                let kind = if is_binary { PayloadKind::Binary } else { PayloadKind::Text };
                let is_kept = frame.try_get_u8().ok()? != 0;
                let (epoch, seq) = (frame.try_get_u64().ok()?, frame.try_get_u64().ok()?);
                let position = is_kept.then_some(Position { epoch, seq });
                Self::Publication {
                    channel: take_channel(&mut frame)?,
                    kind,
                    position,
                    rest: frame,
                }
            }
            NOTICE => Self::Notice { channel: take_channel(&mut frame)?, headers: frame },
            BEGIN => Self::Begin { confirmation: frame.try_get_u64().ok()?, replies: frame },
            _ => return None,
        })
    }
}

fn take_channel(frame: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(frame.try_get_u8().ok()?);
    (frame.len() >= length).then(|| frame.split_to(length))
}

/// A channel's name has at most 255 bytes. A longer one is no client's.
fn put_channel(out: &mut Vec<u8>, channel: &str) {
    let length = u8::try_from(channel.len()).unwrap_or_default();
    out.put_u8(length);
    out.put_slice(&channel.as_bytes()[..usize::from(length)]);
}

/// A publication. A text has no `content-type`: the converters of some clients refuse those that they do not expect, and
/// accept a message that names none.
pub fn publication(channel: &str, publication: &Publication) -> Bytes {
    let Publication { payload, kind, position, .. } = publication;
    let mut out = Vec::with_capacity(payload.len() + channel.len() + 160);
    let is_binary = *kind == PayloadKind::Binary;
    let Position { epoch, seq } = position.unwrap_or(Position::MIN);
    out.put_slice(&[PUBLICATION, u8::from(is_binary), u8::from(position.is_some())]);
    out.put_u64(epoch);
    out.put_u64(seq);
    put_channel(&mut out, channel);
    let mut header = |name: &str, value: &str| {
        for part in [name, ":", value, "\n"] {
            out.put_slice(part.as_bytes());
        }
    };
    match position {
        Some(position) => header("message-id", &position.to_string()),
        None => header("message-id", &next_message_id()),
    }
    header("content-length", &payload.len().to_string());
    if is_binary {
        header("content-type", "application/octet-stream");
    }
    if let Some(micros) = publication.sent_at {
        header("timestamp", &(micros / 1000).to_string());
    }
    if let Some(user) = publication.user.as_deref().filter(|user| is_same_in_each_version(user)) {
        header("user", user);
    }
    out.put_u8(b'\n');
    out.put_slice(payload);
    out.put_u8(0);
    out.into()
}

/// What happened to a channel. `headers`: complete lines that are the same in each version.
pub fn notice(channel: &str, headers: &str) -> Bytes {
    let mut out = vec![NOTICE];
    put_channel(&mut out, channel);
    out.put_slice(headers.as_bytes());
    out.into()
}

/// The begin of subscriptions, with replies that stand before their first publication.
pub fn begin(confirmation: u64, replies: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(9 + replies.len());
    out.put_u8(BEGIN);
    out.put_u64(confirmation);
    out.put_slice(replies);
    out.into()
}

/// Whether no version escapes anything in the text.
pub fn is_same_in_each_version(text: &str) -> bool {
    !text.chars().any(|c| matches!(c, ':' | '\\') || c.is_control())
}

/// The id of a publication that is in no history: no other one on any node has it.
fn next_message_id() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(rand::random);
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("m{:016x}.{}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed))
}
