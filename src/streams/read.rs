//! Reading a stream.

use hyper::StatusCode;

use super::{DurableStreams, FoundStream, StreamFailure, before};
use crate::broker::{PAGE_MAX, Page};
use crate::protocol::durable::{
    ContentClass, ContentType, ReadRequest, StreamAnswer, StreamExpiry, StreamOffset, body_of,
    next_cursor, offset_text,
};
use crate::publication::{Channel, Position, Publication};

/// Most messages of one answer, and their most bytes. It has at least one message, whatever its size.
const MESSAGES_MAX: usize = 1000;
const BYTES_MAX: usize = 512 << 10;

/// What a reader is to get.
#[derive(Debug)]
pub enum ReadOutcome {
    Answer(StreamAnswer),
    /// There is nothing yet behind this position. The client is to wait for it.
    Wait(StreamReading),
}

/// A live read, as far as it has come.
#[derive(Clone, Debug)]
pub struct StreamReading {
    pub class: ContentClass,
    /// Where the client is.
    pub position: Position,
    pub cursor: Option<u64>,
}

/// What was read.
struct StreamExcerpt {
    messages: Vec<Publication>,
    next: Position,
    is_up_to_date: bool,
    is_closed: bool,
}

impl DurableStreams<'_> {
    /// Reads what is kept behind the offset. A live read that finds nothing is to wait.
    pub async fn read(
        &self,
        channel: &Channel,
        request: &ReadRequest,
    ) -> Result<ReadOutcome, StreamFailure> {
        let found = self.open_to_read(channel).await?;
        let start = start(&found, request.offset);
        let excerpt = self.excerpt(channel, &found, start).await?;
        let is_empty = excerpt.messages.is_empty();
        if request.is_live && is_empty && !excerpt.is_closed {
            let class = found.record.content_type.class();
            let reading = StreamReading { class, position: start, cursor: request.cursor };
            return Ok(ReadOutcome::Wait(reading));
        }
        let answer = answer(&found.record.content_type, request, start, &excerpt);
        Ok(ReadOutcome::Answer(answer))
    }

    /// Finds where a reader of events begins. Fails if what follows is not kept.
    pub async fn follow(
        &self,
        channel: &Channel,
        request: &ReadRequest,
    ) -> Result<(StreamReading, FollowState), StreamFailure> {
        let found = self.open_to_read(channel).await?;
        let position = start(&found, request.offset);
        let class = found.record.content_type.class();
        // Checks that what follows is kept.
        if position != found.last_message() {
            self.messages_behind(channel, &found, position).await?;
        }
        let is_at_end = position == found.last_message() && found.is_closed();
        let state = if is_at_end { FollowState::Closed } else { FollowState::Open };
        Ok((StreamReading { class, position, cursor: request.cursor }, state))
    }

    /// The answer to a live read whose time is over.
    pub fn nothing(&self, reading: &StreamReading) -> StreamAnswer {
        let cursor = next_cursor(reading.cursor).to_string();
        let answer = StreamAnswer::new(StatusCode::NO_CONTENT).next(reading.position).up_to_date();
        answer.with("stream-cursor", cursor).with("cache-control", "no-store")
    }

    async fn open_to_read(&self, channel: &Channel) -> Result<FoundStream, StreamFailure> {
        let found = self.open(channel, &[]).await?;
        if matches!(found.record.expiry, Some(StreamExpiry::Ttl(_))) {
            self.broker.renew_stream(channel.clone()).await?;
        }
        Ok(found)
    }

    async fn excerpt(
        &self,
        channel: &Channel,
        found: &FoundStream,
        start: Position,
    ) -> Result<StreamExcerpt, StreamFailure> {
        let (last, is_closed) = (found.last_message(), found.is_closed());
        if start == last {
            let messages = Vec::new();
            return Ok(StreamExcerpt { messages, next: last, is_up_to_date: true, is_closed });
        }
        let mut messages: Vec<Publication> = Vec::new();
        let (mut at, mut has_end) = (start, false);
        while at < last && !is_full(&messages) {
            let mut some = match self.messages_behind(channel, found, at).await {
                // Trimmed meanwhile: the next read tells.
                Err(StreamFailure::Refused(_)) if !messages.is_empty() => break,
                some => some?,
            };
            has_end |= some.pop_if(|last| last.end.is_some()).is_some();
            let Some(last) = some.last().and_then(|last| last.position) else { break };
            messages.append(&mut some);
            at = last;
        }
        let count = fitting(&messages);
        let is_cut = count < messages.len();
        messages.truncate(count);
        let next = messages.last().and_then(|last| last.position).unwrap_or(start);
        let is_up_to_date = !is_cut && (next >= last || has_end);
        let is_closed = is_up_to_date && (is_closed && next >= last || has_end);
        Ok(StreamExcerpt { messages, next, is_up_to_date, is_closed })
    }

    /// A page of messages behind the position; the last entry may be the end. Fails if what follows is not kept.
    pub(super) async fn messages_behind(
        &self,
        channel: &Channel,
        found: &FoundStream,
        position: Position,
    ) -> Result<Vec<Publication>, StreamFailure> {
        let trimmed = || {
            let earliest = found.stored.oldest.map_or_else(|| found.last_message(), before);
            StreamFailure::from(StreamAnswer::trimmed(earliest))
        };
        if position > found.last_message() {
            return Err(trimmed());
        }
        let page = Page::After(position);
        let mut page = self.broker.history(channel.clone(), page, PAGE_MAX).await?;
        let (mut at, mut count) = (position, 0);
        while let Some(next) = page.get(count).filter(|next| next.follows(at)) {
            (at, count) = (next.position.unwrap_or(at), count + 1);
        }
        if count == 0 {
            return Err(trimmed());
        }
        page.truncate(count);
        Ok(page)
    }
}

/// Whether a followed stream may still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowState {
    Open,
    /// The client is at the end of a closed stream.
    Closed,
}

fn start(found: &FoundStream, offset: StreamOffset) -> Position {
    match offset {
        StreamOffset::Start => found.first,
        StreamOffset::Now => found.last_message(),
        StreamOffset::Behind(position) => position,
    }
}

fn is_full(messages: &[Publication]) -> bool {
    messages.len() >= MESSAGES_MAX || fitting(messages) < messages.len()
}

/// How many of the messages fit into one answer.
fn fitting(messages: &[Publication]) -> usize {
    let mut bytes = 0;
    let fitting = messages.iter().take(MESSAGES_MAX).take_while(|message| {
        bytes += message.payload.len();
        bytes <= BYTES_MAX
    });
    fitting.count().max(1).min(messages.len())
}

fn answer(
    content_type: &ContentType,
    request: &ReadRequest,
    start: Position,
    excerpt: &StreamExcerpt,
) -> StreamAnswer {
    let StreamExcerpt { messages, next, is_up_to_date, is_closed } = excerpt;
    let closed_mark = if *is_closed { ":c" } else { "" };
    let tag = format!("\"{}:{}{closed_mark}\"", offset_text(start), offset_text(*next));
    let is_known = request.known.as_deref().is_some_and(|known| {
        known
            .split(',')
            .any(|it| matches!(it.trim().trim_start_matches("W/"), "*") || it.trim() == tag)
    });
    let status = match () {
        () if request.is_live && messages.is_empty() => StatusCode::NO_CONTENT,
        () if is_known && !request.is_live => StatusCode::NOT_MODIFIED,
        () => StatusCode::OK,
    };
    let mut answer = StreamAnswer::new(status).next(*next).closed(*is_closed);
    if *is_up_to_date {
        answer = answer.up_to_date();
    }
    if request.is_live && !*is_closed {
        answer = answer.with("stream-cursor", next_cursor(request.cursor).to_string());
    }
    answer = answer.with("cache-control", cache_control(request, excerpt));
    if request.offset != StreamOffset::Now {
        answer = answer.with("etag", tag);
    }
    if status != StatusCode::OK {
        return answer;
    }
    let payloads = messages.iter().map(|message| (message.kind, &message.payload[..]));
    let body = body_of(content_type.class(), payloads);
    answer.with("content-type", content_type.as_str()).body(body)
}

/// What lies before the end of a stream never changes; a browser may keep it for a while.
fn cache_control(request: &ReadRequest, excerpt: &StreamExcerpt) -> &'static str {
    match () {
        () if request.is_live || request.offset == StreamOffset::Now => "no-store",
        () if excerpt.is_up_to_date => "private, no-cache",
        () => "private, max-age=60, stale-while-revalidate=300",
    }
}
