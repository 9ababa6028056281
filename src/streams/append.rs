//! Appending to a stream, and closing it.

use hyper::StatusCode;

use super::producers::{self, PRODUCERS, PRODUCERS_MAX, ProducerCheck, ProducerState};
use super::record::{META, SEQ, StreamRecord};
use super::{DurableStreams, FoundStream, StreamDone, StreamFailure, before, positioned};
use crate::broker::{CommitOutcome, ENDED, StreamCommit};
use crate::protocol::durable::{
    AppendRequest, ContentClass, MESSAGES_MAX, NoMessages, Producer, StreamAnswer, messages_of,
};
use crate::publication::{Channel, EndReason, Position, Publication};

/// The reason of the end of a stream that a client has closed.
pub const CLOSED: &str = "closed";

impl DurableStreams<'_> {
    pub async fn append(
        &self,
        channel: &Channel,
        request: AppendRequest,
    ) -> Result<StreamDone, StreamFailure> {
        let producer_field = request.producer.as_ref().map(producers::field_of);
        let fields = [SEQ, PRODUCERS, producer_field.as_deref().unwrap_or(PRODUCERS)];
        for tries in 0.. {
            let found = self.open(channel, &fields).await?;
            if let Some(answer) = decide(&found, &request)? {
                return Ok(StreamDone { answer, published: Vec::new() });
            }
            let messages = match request.body.is_empty() {
                true => Vec::new(),
                false => messages(found.record.content_type.class(), &request)?,
            };
            let messages: Vec<_> = messages.into_iter().map(|it| self.sent(it)).collect();
            let commit = commit(&found, &request, messages.clone())?;
            match self.broker.commit_stream(channel.clone(), commit).await {
                Ok(CommitOutcome::Done(last)) => return Ok(done(&found, &request, messages, last)),
                // The next attempt finds that the stream has ended.
                Ok(CommitOutcome::Conflict) | Err(ENDED) => self.pause(tries).await?,
                Err(why) => return Err(why.into()),
            }
        }
        unreachable!("the pause ends the attempts")
    }
}

/// The answer if there is nothing to append or to close. None: there is.
fn decide(
    found: &FoundStream,
    request: &AppendRequest,
) -> Result<Option<StreamAnswer>, StreamFailure> {
    let checked = request.producer.as_ref().map(|producer| {
        let known = found.field(2).and_then(ProducerState::parse);
        producers::check(known, producer)
    });
    if let (Some(ProducerCheck::Refused(answer)), Some(producer)) = (&checked, &request.producer) {
        let is_closed = found.is_closed() && answer.status != StatusCode::FORBIDDEN;
        if !is_closed || producers::has_closed(found, producer) {
            return Err(answer.clone().into());
        }
    }
    if found.is_closed() {
        return closed(found, request).map(Some);
    }
    if let Some(content_type) = &request.content_type
        && !content_type.is_same(&found.record.content_type)
    {
        let own = found.record.content_type.as_str();
        return Err(StreamAnswer::conflict(format!("the stream's Content-Type is {own}")).into());
    }
    match (checked, &request.producer) {
        (Some(ProducerCheck::Duplicate(last)), Some(producer)) => {
            let answer = StreamAnswer::new(StatusCode::NO_CONTENT).next(found.last_message());
            return Ok(Some(told(answer, producer, last)));
        }
        (Some(ProducerCheck::Refused(answer)), _) => return Err(answer.into()),
        _ => {}
    }
    match (&request.seq, found.field(0)) {
        (Some(seq), Some(last)) if seq.as_bytes() <= last.as_bytes() => {
            Err(StreamAnswer::conflict(format!("Stream-Seq must be greater than {last:?}")).into())
        }
        _ => Ok(None),
    }
}

/// The answer where the stream is closed: what has closed it may be repeated.
fn closed(found: &FoundStream, request: &AppendRequest) -> Result<StreamAnswer, StreamFailure> {
    let answer = StreamAnswer::new(StatusCode::NO_CONTENT).next(found.last_message()).closed(true);
    match &request.producer {
        Some(producer) if producers::has_closed(found, producer) => {
            Ok(told(answer, producer, producer.seq))
        }
        None if request.body.is_empty() => Ok(answer),
        _ => Err(StreamAnswer::ended(found.last_message()).into()),
    }
}

/// Tells a producer its epoch and the last number of it.
fn told(answer: StreamAnswer, producer: &Producer, last: u64) -> StreamAnswer {
    let answer = answer.with("producer-epoch", producer.epoch.to_string());
    answer.with("producer-seq", last.to_string())
}

fn messages(
    class: ContentClass,
    request: &AppendRequest,
) -> Result<Vec<Publication>, StreamFailure> {
    messages_of(class, request.body.clone()).map_err(|why| refuse(why).into())
}

pub fn refuse(why: NoMessages) -> StreamAnswer {
    match why {
        NoMessages::InvalidJson => StreamAnswer::bad_request("the body is not valid JSON"),
        NoMessages::EmptyArray => {
            StreamAnswer::bad_request("the body is an empty array: there is nothing to append")
        }
        NoMessages::TooMany => {
            StreamAnswer::too_large(format!("the body has more than {MESSAGES_MAX} messages"))
        }
    }
}

/// What the request changes.
fn commit(
    found: &FoundStream,
    request: &AppendRequest,
    append: Vec<Publication>,
) -> Result<StreamCommit, StreamFailure> {
    let mut commit = StreamCommit {
        read: vec![(META.to_owned(), Some(found.text.clone()))],
        append,
        ..StreamCommit::default()
    };
    let mut change = |field: &str, before: Option<&str>, after: String| {
        commit.read.push((field.to_owned(), before.map(str::to_owned)));
        commit.write.push((field.to_owned(), Some(after)));
    };
    if let Some(seq) = &request.seq {
        change(SEQ, found.field(0), seq.clone());
    }
    if let Some(producer) = &request.producer {
        let known = found.field(2);
        change(&producers::field_of(producer), known, producers::value_of(producer));
        let count: u64 = found.field(1).and_then(|count| count.parse().ok()).unwrap_or(0);
        if known.is_none() && count >= PRODUCERS_MAX {
            let message = format!("a stream has at most {PRODUCERS_MAX} producers");
            return Err(StreamAnswer::limit_reached(message).into());
        }
        if known.is_none() {
            change(PRODUCERS, found.field(1), (count + 1).to_string());
        }
    }
    if request.closes {
        let closed_by = request.producer.clone().map(|it| (it.id, it.epoch, it.seq));
        let record = StreamRecord { closed: true, closed_by, ..found.record.clone() };
        commit.write.push((META.to_owned(), Some(record.text())));
        commit.end = EndReason::new(CLOSED).ok();
    }
    Ok(commit)
}

fn done(
    found: &FoundStream,
    request: &AppendRequest,
    messages: Vec<Publication>,
    last: Option<Position>,
) -> StreamDone {
    let last = last.map(|last| if request.closes { before(last) } else { last });
    let status = match request.producer.is_some() && !messages.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::NO_CONTENT,
    };
    let answer = StreamAnswer::new(status).next(last.unwrap_or(found.first));
    let answer = answer.closed(request.closes);
    let answer = match &request.producer {
        Some(producer) => told(answer, producer, producer.seq),
        None => answer,
    };
    StreamDone { answer, published: positioned(messages, last) }
}
