//! Creating a stream.

use hyper::StatusCode;

use super::append::{CLOSED, refuse};
use super::fork::Inheritance;
use super::record::{ForkRecord, META, StreamRecord};
use super::{DurableStreams, FoundStream, StreamDone, StreamFailure, before, found, positioned};
use crate::broker::{
    CommitOutcome, ENDED, EXPIRY_FIELD, FIRST_FIELD, StoredStream, StreamCommit, TTL_FIELD,
};
use crate::protocol::durable::{
    ContentClass, ContentType, CreateRequest, NoMessages, StreamAnswer, StreamExpiry, messages_of,
    offset_text,
};
use crate::protocol::durable::{ForkRequest, StreamOffset};
use crate::publication::{Channel, EndReason, Position, Publication};

impl DurableStreams<'_> {
    pub async fn create(
        &self,
        channel: &Channel,
        request: CreateRequest,
    ) -> Result<StreamDone, StreamFailure> {
        for tries in 0.. {
            let fields = vec![META.to_owned(), FIRST_FIELD.to_owned()];
            let stored = self.broker.stream(channel.clone(), fields).await?;
            let text = stored.fields.first().cloned().flatten();
            if let Some(found) = found(stored.clone()) {
                let answer = matching(&found, &request)?;
                return Ok(StreamDone { answer, published: Vec::new() });
            }
            let Some(done) = self.try_create(channel, &request, stored, text).await? else {
                self.pause(tries).await?;
                continue;
            };
            return Ok(done);
        }
        unreachable!("the pause ends the attempts")
    }

    /// None: something has changed meanwhile.
    async fn try_create(
        &self,
        channel: &Channel,
        request: &CreateRequest,
        stored: StoredStream,
        text: Option<String>,
    ) -> Result<Option<StreamDone>, StreamFailure> {
        let inheritance = match &request.fork {
            Some(fork) => Some(self.inheritance(fork, request).await?),
            None => None,
        };
        let record = record(request, inheritance.as_ref());
        self.check_new(channel, &record, &stored, request)?;
        let class = record.content_type.class();
        let messages =
            first_messages(class, request)?.into_iter().map(|it| self.sent(it)).collect();
        let commit = commit(text, &record, inheritance, messages);
        let (messages, has_end) = (commit.append.clone(), commit.end.is_some());
        if let Some(fork) = &request.fork
            && !self.add_fork(&fork.from, channel).await?
        {
            return Ok(None);
        }
        let outcome = self.broker.commit_stream(channel.clone(), commit).await;
        if !matches!(outcome, Ok(CommitOutcome::Done(_)))
            && let Some(fork) = &request.fork
        {
            self.release_fork(fork.from.clone(), channel).await;
        }
        match outcome {
            Ok(CommitOutcome::Done(last)) => {
                let last = last.unwrap_or(Position::MIN);
                let last = if has_end { before(last) } else { last };
                let answer = described(StreamAnswer::new(StatusCode::CREATED), &record);
                let answer = answer.next(last).closed(record.closed);
                Ok(Some(StreamDone { answer, published: positioned(messages, Some(last)) }))
            }
            Ok(CommitOutcome::Conflict) | Err(ENDED) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    /// Refuses a stream that the channel cannot carry.
    fn check_new(
        &self,
        channel: &Channel,
        record: &StreamRecord,
        stored: &StoredStream,
        request: &CreateRequest,
    ) -> Result<(), StreamFailure> {
        let merges = self.rules.of(channel.as_str()).merges();
        if merges && record.content_type.class() == ContentClass::Values {
            let message =
                "the channel's rule joins texts (run.merge), so its stream cannot be JSON";
            return Err(StreamAnswer::conflict(message).into());
        }
        if let (Some(_), Some(last)) = (&stored.ended, stored.last) {
            // A run was published here, and has ended.
            return Err(StreamAnswer::ended(before(last)).into());
        }
        if request.fork.is_some() && stored.oldest.is_some() {
            let message = "publications of another origin are on the channel already";
            return Err(StreamAnswer::conflict(message).into());
        }
        Ok(())
    }
}

/// The answer where the stream exists: it may be created again with the same configuration.
fn matching(found: &FoundStream, request: &CreateRequest) -> Result<StreamAnswer, StreamFailure> {
    let FoundStream { record, .. } = found;
    if record.deleted {
        return Err(StreamAnswer::conflict("the stream was deleted, and has forks").into());
    }
    let is_fork = request.fork.is_some();
    let same_type = match &request.content_type {
        Some(content_type) => content_type.is_same(&record.content_type),
        None => is_fork || ContentType::bytes().is_same(&record.content_type),
    };
    let same_expiry = match (&request.expiry, &record.expiry) {
        (Some(one), Some(other)) => one.is_same(other),
        (None, None) => true,
        (None, Some(_)) => is_fork,
        (Some(_), None) => false,
    };
    let different = match () {
        () if !same_type => "Content-Type",
        () if !same_expiry => "Stream-TTL or Stream-Expires-At",
        () if request.fork.as_ref().map(fork_record) != record.fork => "Stream-Forked-From",
        () if request.closed != found.is_closed() => "Stream-Closed",
        () => {
            let answer = described(StreamAnswer::new(StatusCode::OK), record);
            return Ok(answer.next(found.last_message()).closed(found.is_closed()));
        }
    };
    let message = format!("the stream exists already, with another {different}");
    Err(StreamAnswer::conflict(message).closed(found.is_closed()).into())
}

/// Adds what the record says.
pub fn described(answer: StreamAnswer, record: &StreamRecord) -> StreamAnswer {
    let answer = answer.with("content-type", record.content_type.as_str());
    match &record.expiry {
        Some(StreamExpiry::Ttl(seconds)) => answer.with("stream-ttl", seconds.to_string()),
        Some(StreamExpiry::At { text, .. }) => answer.with("stream-expires-at", text),
        None => answer,
    }
}

fn fork_record(fork: &ForkRequest) -> ForkRecord {
    let offset = fork.offset.map(|offset| match offset {
        StreamOffset::Behind(position) => offset_text(position),
        StreamOffset::Start | StreamOffset::Now => "-1".to_owned(),
    });
    ForkRecord { from: fork.from.to_string(), offset, sub_offset: fork.sub_offset }
}

fn record(request: &CreateRequest, inheritance: Option<&Inheritance>) -> StreamRecord {
    let content_type = match (&request.content_type, inheritance) {
        (Some(content_type), _) => content_type.clone(),
        (None, Some(inheritance)) => inheritance.content_type.clone(),
        (None, None) => ContentType::bytes(),
    };
    let inherited = || inheritance.and_then(|it| it.expiry.clone());
    StreamRecord {
        content_type,
        expiry: request.expiry.clone().or_else(inherited),
        closed: request.closed,
        closed_by: None,
        fork: request.fork.as_ref().map(fork_record),
        deleted: false,
    }
}

/// The messages with which a stream begins. An empty JSON array is none.
fn first_messages(
    class: ContentClass,
    request: &CreateRequest,
) -> Result<Vec<Publication>, StreamFailure> {
    if request.body.is_empty() {
        return Ok(Vec::new());
    }
    match messages_of(class, request.body.clone()) {
        Ok(messages) => Ok(messages),
        Err(NoMessages::EmptyArray) => Ok(Vec::new()),
        Err(why) => Err(refuse(why).into()),
    }
}

fn commit(
    text: Option<String>,
    record: &StreamRecord,
    inheritance: Option<Inheritance>,
    append: Vec<Publication>,
) -> StreamCommit {
    let mut write = vec![(META.to_owned(), Some(record.text()))];
    match &record.expiry {
        Some(StreamExpiry::Ttl(seconds)) => {
            write.push((TTL_FIELD.to_owned(), Some(seconds.saturating_mul(1000).to_string())));
        }
        Some(StreamExpiry::At { millis, .. }) => {
            write.push((EXPIRY_FIELD.to_owned(), Some(millis.to_string())));
        }
        None => {}
    }
    let inherited = inheritance.map(|it| it.messages).unwrap_or_default();
    let end = record.closed.then(|| EndReason::new(CLOSED).ok()).flatten();
    let read = vec![(META.to_owned(), text)];
    StreamCommit { read, write, is_new: true, inherited, append, end, ..StreamCommit::default() }
}
