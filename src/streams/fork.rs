//! Forks: streams that begin with the messages of another stream.
//!
//! A fork has copies of what it inherits, so that its channel can be in another slot. The other stream knows its forks, and
//! what is left of it when it is deleted stays until they are deleted too.

use super::record::{FORKS, META};
use super::{DurableStreams, FoundStream, StreamFailure};
use crate::broker::{CommitOutcome, Removal, StreamCommit, Unavailable};
use crate::protocol::durable::{
    ContentClass, ContentType, CreateRequest, ForkRequest, StreamAnswer, StreamExpiry, StreamOffset,
};
use crate::publication::{Channel, Publication};

/// Most forks of a stream.
const FORKS_MAX: usize = 1000;

/// Most messages that a fork inherits, and their most bytes.
const INHERITED_MAX: usize = 10_000;
const INHERITED_BYTES_MAX: usize = 16 << 20;

/// How many streams, each forked from the next, are removed with the last one's deletion.
const CHAIN_MAX: usize = 100;

/// What a fork has of the other stream.
pub struct Inheritance {
    pub content_type: ContentType,
    pub expiry: Option<StreamExpiry>,
    pub messages: Vec<Publication>,
}

impl DurableStreams<'_> {
    /// What a fork inherits.
    pub(super) async fn inheritance(
        &self,
        fork: &ForkRequest,
        request: &CreateRequest,
    ) -> Result<Inheritance, StreamFailure> {
        let source = self.find(&fork.from, &[]).await?.ok_or_else(|| {
            StreamAnswer::not_found("there is no stream at the path in Stream-Forked-From")
        })?;
        if source.record.deleted {
            return Err(
                StreamAnswer::conflict("the stream in Stream-Forked-From was deleted").into()
            );
        }
        let content_type = source.record.content_type.clone();
        if request.content_type.as_ref().is_some_and(|it| !it.is_same(&content_type)) {
            let message =
                format!("the Content-Type of the forked stream is {}", content_type.as_str());
            return Err(StreamAnswer::conflict(message).into());
        }
        let messages = self.inherited(fork, &source).await?;
        Ok(Inheritance { content_type, expiry: source.record.expiry.clone(), messages })
    }

    async fn inherited(
        &self,
        fork: &ForkRequest,
        source: &FoundStream,
    ) -> Result<Vec<Publication>, StreamFailure> {
        let end = match fork.offset {
            None | Some(StreamOffset::Now) => source.last_message(),
            Some(StreamOffset::Start) => source.first,
            Some(StreamOffset::Behind(position)) => position,
        };
        if end > source.last_message() {
            return Err(StreamAnswer::bad_request("Stream-Fork-Offset is behind the end").into());
        }
        let all = self.all_messages(&fork.from, source).await?;
        let count = match all.iter().position(|message| message.position == Some(end)) {
            Some(at) => at + 1,
            None if end == source.first => 0,
            None => {
                let message = "Stream-Fork-Offset is no offset of the forked stream";
                return Err(StreamAnswer::bad_request(message).into());
            }
        };
        cut(all, count, fork.sub_offset, source.record.content_type.class())
    }

    /// All messages of a stream.
    async fn all_messages(
        &self,
        channel: &Channel,
        source: &FoundStream,
    ) -> Result<Vec<Publication>, StreamFailure> {
        let (mut all, mut bytes, mut at) = (Vec::new(), 0, source.first);
        while at < source.last_message() {
            let mut some = self.messages_behind(channel, source, at).await?;
            some.retain(|message| message.end.is_none());
            let Some(last) = some.last().and_then(|last| last.position) else { break };
            bytes += some.iter().map(|message| message.payload.len()).sum::<usize>();
            all.extend(some);
            at = last;
            if all.len() > INHERITED_MAX || bytes > INHERITED_BYTES_MAX {
                return Err(StreamAnswer::too_large(format!(
                    "a stream with more than {INHERITED_MAX} messages or {INHERITED_BYTES_MAX} bytes \
                     cannot be forked"
                ))
                .into());
            }
        }
        Ok(all)
    }

    /// Enters a fork at the other stream. False: that has changed meanwhile.
    pub(super) async fn add_fork(
        &self,
        from: &Channel,
        fork: &Channel,
    ) -> Result<bool, StreamFailure> {
        let source = self.open(from, &[FORKS]).await?;
        let mut forks = forks(&source);
        if forks.iter().any(|it| it == fork.as_str()) {
            return Ok(true);
        }
        if forks.len() >= FORKS_MAX {
            let message = format!("a stream has at most {FORKS_MAX} forks");
            return Err(StreamAnswer::limit_reached(message).into());
        }
        forks.push(fork.to_string());
        let commit = with_forks(&source, &forks);
        Ok(self.broker.commit_stream(from.clone(), commit).await? != CommitOutcome::Conflict)
    }

    /// Removes a fork from the other stream, and that one too if it is deleted and this was its last fork; and so on. What
    /// cannot be removed now expires.
    pub(super) async fn release_fork(&self, from: Channel, fork: &Channel) {
        let mut next = Some((from, fork.clone()));
        for _ in 0..CHAIN_MAX {
            let Some((from, fork)) = next else { return };
            next = self.release_one(&from, &fork).await.unwrap_or(None);
        }
    }

    /// Returns the next stream from which a fork is to be removed.
    async fn release_one(
        &self,
        from: &Channel,
        fork: &Channel,
    ) -> Result<Option<(Channel, Channel)>, Unavailable> {
        for tries in 0.. {
            let Some(source) = self.find(from, &[FORKS]).await? else { return Ok(None) };
            let mut forks = forks(&source);
            forks.retain(|it| it != fork.as_str());
            let mut commit = with_forks(&source, &forks);
            let is_last = source.record.deleted && forks.is_empty();
            if is_last {
                commit.removal = Removal::Stream;
            }
            match self.broker.commit_stream(from.clone(), commit).await? {
                CommitOutcome::Conflict => self.pause(tries).await?,
                CommitOutcome::Done(_) if is_last => {
                    let parent = source.record.fork.and_then(|it| Channel::new(&it.from).ok());
                    return Ok(parent.map(|parent| (parent, from.clone())));
                }
                CommitOutcome::Done(_) => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// The channels of a stream's forks; the field was read first.
pub fn forks(source: &FoundStream) -> Vec<String> {
    source.field(0).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn with_forks(source: &FoundStream, forks: &[String]) -> StreamCommit {
    let text = (!forks.is_empty()).then(|| serde_json::json!(forks).to_string());
    StreamCommit {
        read: vec![
            (META.to_owned(), Some(source.text.clone())),
            (FORKS.to_owned(), source.field(0).map(str::to_owned)),
        ],
        write: vec![(FORKS.to_owned(), text)],
        ..StreamCommit::default()
    }
}

/// The first `count` messages, and what the sub-offset adds.
fn cut(
    mut all: Vec<Publication>,
    count: usize,
    sub_offset: u64,
    class: ContentClass,
) -> Result<Vec<Publication>, StreamFailure> {
    let refused = || StreamAnswer::bad_request("Stream-Fork-Sub-Offset is behind the next message");
    let more = usize::try_from(sub_offset).map_err(|_| refused())?;
    if class == ContentClass::Values {
        let count = count.checked_add(more).filter(|count| *count <= all.len());
        all.truncate(count.ok_or_else(refused)?);
        return Ok(all);
    }
    let next = all.get(count).cloned();
    all.truncate(count);
    if more > 0 {
        let next = next.filter(|next| more <= next.payload.len()).ok_or_else(refused)?;
        all.push(first_bytes(next, more));
    }
    Ok(all)
}

/// The first bytes of a message.
fn first_bytes(message: Publication, bytes: usize) -> Publication {
    let part = Publication::bare(message.payload.slice(..bytes));
    Publication { payload: part.payload, kind: part.kind, ..message }
}
