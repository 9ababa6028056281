//! Deleting a stream, and describing it.

use hyper::StatusCode;

use super::create::described;
use super::fork::forks;
use super::record::{FORKS, META, StreamRecord};
use super::{DurableStreams, StreamDone, StreamFailure};
use crate::broker::{CommitOutcome, Removal, StreamCommit};
use crate::protocol::durable::{DELETED, StreamAnswer};
use crate::publication::{Channel, EndReason};

impl DurableStreams<'_> {
    /// Its followers get the end first. A stream with forks is kept without messages.
    pub async fn delete(&self, channel: &Channel) -> Result<StreamDone, StreamFailure> {
        for tries in 0.. {
            let found = self.open(channel, &[FORKS]).await?;
            let has_forks = !forks(&found).is_empty();
            let mut commit = StreamCommit {
                read: vec![
                    (META.to_owned(), Some(found.text.clone())),
                    (FORKS.to_owned(), found.field(0).map(str::to_owned)),
                ],
                end: EndReason::new(DELETED).ok(),
                removal: Removal::Stream,
                ..StreamCommit::default()
            };
            if has_forks {
                let record = StreamRecord { deleted: true, ..found.record.clone() };
                commit.write.push((META.to_owned(), Some(record.text())));
                commit.removal = Removal::Publications;
            }
            if self.broker.commit_stream(channel.clone(), commit).await? == CommitOutcome::Conflict
            {
                self.pause(tries).await?;
                continue;
            }
            if !has_forks
                && let Some(fork) = found.record.fork
                && let Ok(from) = Channel::new(&fork.from)
            {
                self.release_fork(from, channel).await;
            }
            let answer = StreamAnswer::new(StatusCode::NO_CONTENT);
            return Ok(StreamDone { answer, published: Vec::new() });
        }
        unreachable!("the pause ends the attempts")
    }

    /// The answer to `HEAD`, which is no use of the stream.
    pub async fn describe(&self, channel: &Channel) -> Result<StreamDone, StreamFailure> {
        let found = self.open(channel, &[]).await?;
        let answer = described(StreamAnswer::new(StatusCode::OK), &found.record);
        let answer = answer.with("cache-control", "no-store");
        let answer = answer.next(found.last_message()).closed(found.is_closed());
        Ok(StreamDone { answer, published: Vec::new() })
    }
}
