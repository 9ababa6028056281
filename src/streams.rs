//! Durable streams: what clients may do with a channel as a stream, whose messages are the channel's publications.
//!
//! A request reads what is stored of the stream, decides what follows, and commits that together with what it has read. If
//! another request was faster, it begins again. Brokers compare and store, and know no rule of the protocol.

mod append;
mod create;
mod delete;
mod fork;
mod producers;
mod read;
mod record;

use std::time::Duration;

use tokio::time::sleep;

pub use self::read::{FollowState, ReadOutcome, StreamReading};
use self::record::{META, StreamRecord};
use crate::broker::{Broker, FIRST_FIELD, StoredStream, Unavailable};
use crate::protocol::durable::StreamAnswer;
use crate::publication::{Channel, Position, Publication, SessionId, User};
use crate::rules::Rules;

/// How often a request begins again because another one was faster.
const TRIES: u32 = 32;

/// The longest pause before it does; it grows from attempt to attempt.
const PAUSE_MAX: Duration = Duration::from_millis(50);

const BUSY: Unavailable = Unavailable("too many requests change this stream at the same time");

/// The streams of this node's broker.
pub struct DurableStreams<'a> {
    pub broker: &'a dyn Broker,
    pub rules: &'a Rules,
    pub sender: Sender,
}

/// Who sends a request.
#[derive(Clone, Debug)]
pub struct Sender {
    pub session: SessionId,
    pub user: User,
}

/// What a request has done.
#[derive(Debug)]
pub struct StreamDone {
    pub answer: StreamAnswer,
    /// What was published, with positions.
    pub published: Vec<Publication>,
}

/// Why a request has failed.
#[derive(Debug)]
pub enum StreamFailure {
    Refused(StreamAnswer),
    Unavailable(Unavailable),
}

impl From<StreamAnswer> for StreamFailure {
    fn from(refused: StreamAnswer) -> Self {
        Self::Refused(refused)
    }
}

impl From<Unavailable> for StreamFailure {
    fn from(why: Unavailable) -> Self {
        Self::Unavailable(why)
    }
}

/// A stream as it was read.
struct FoundStream {
    record: StreamRecord,
    /// The record as it is stored.
    text: String,
    stored: StoredStream,
    first: Position,
}

impl FoundStream {
    fn is_closed(&self) -> bool {
        self.record.closed || self.stored.ended.is_some()
    }

    /// The position of the last message, or the one before the first.
    fn last_message(&self) -> Position {
        match (self.stored.last, &self.stored.ended) {
            (Some(end), Some(_)) => before(end),
            (Some(last), None) => last,
            (None, _) => self.first,
        }
    }

    /// The value of a field that was read besides the record.
    fn field(&self, at: usize) -> Option<&str> {
        self.stored.fields.get(READ_FIELDS.len() + at)?.as_deref()
    }
}

/// The fields that every request reads.
const READ_FIELDS: [&str; 2] = [META, FIRST_FIELD];

/// The position before this one, which is that of the end of a stream or of its first message.
fn before(position: Position) -> Position {
    Position { seq: position.seq.saturating_sub(1), ..position }
}

impl DurableStreams<'_> {
    /// Reads the stream, and other fields of it. None: there is none.
    async fn find(
        &self,
        channel: &Channel,
        fields: &[&str],
    ) -> Result<Option<FoundStream>, Unavailable> {
        let all = READ_FIELDS.iter().chain(fields).map(|field| (*field).to_owned()).collect();
        Ok(found(self.broker.stream(channel.clone(), all).await?))
    }

    /// The same; refuses a channel without a stream, and a stream that was deleted.
    async fn open(&self, channel: &Channel, fields: &[&str]) -> Result<FoundStream, StreamFailure> {
        let found = self.find(channel, fields).await?.ok_or_else(StreamAnswer::no_stream)?;
        match found.record.deleted {
            true => Err(StreamAnswer::deleted().into()),
            false => Ok(found),
        }
    }

    /// A publication of the sender.
    fn sent(&self, message: Publication) -> Publication {
        let Sender { session, user } = self.sender.clone();
        Publication { session: Some(session), user, ..message.sent_now() }
    }

    /// Waits before a request begins again. Fails if it has begun often enough.
    async fn pause(&self, tries: u32) -> Result<(), Unavailable> {
        if tries >= TRIES {
            return Err(BUSY);
        }
        let longest = Duration::from_millis(u64::from(tries)).min(PAUSE_MAX);
        sleep(longest.mul_f64(rand::random_range(0.0..1.0))).await;
        Ok(())
    }
}

/// A stream whose history is gone is gone too, unless forks need its record.
fn found(stored: StoredStream) -> Option<FoundStream> {
    let text = stored.fields.first()?.clone()?;
    let record: StreamRecord = serde_json::from_str(&text).ok()?;
    if stored.last.is_none() && !record.deleted {
        return None;
    }
    let first = stored.fields.get(1)?.as_deref().and_then(|first| first.parse().ok());
    Some(FoundStream { record, text, first: first.unwrap_or(Position::MIN), stored })
}

/// Messages with the positions that they got, of which `last` is the last.
fn positioned(messages: Vec<Publication>, last: Option<Position>) -> Vec<Publication> {
    let Some(last) = last else { return messages };
    let count = messages.len() as u64;
    let at = |(index, message): (usize, Publication)| {
        let seq = (last.seq + 1 + index as u64).saturating_sub(count);
        Publication { position: Some(Position { seq, ..last }), ..message }
    };
    messages.into_iter().enumerate().map(at).collect()
}
