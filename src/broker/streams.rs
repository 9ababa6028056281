//! Durable streams: what a channel has besides its publications, and changes of both in one step.

use futures_util::future::BoxFuture;

use super::unavailable::Unavailable;
use crate::publication::{Channel, EndReason, Position, Publication};

/// A stream as a broker stores it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredStream {
    /// The value of each field that was asked for.
    pub fields: Vec<Option<String>>,
    /// The last position. `None`: the channel has no history.
    pub last: Option<Position>,
    /// The position of the oldest publication that is kept.
    pub oldest: Option<Position>,
    /// Some: the newest entry is the end of a run.
    pub ended: Option<EndReason>,
}

/// What becomes of a stream, provided that nothing has changed since it was read.
#[derive(Clone, Debug, Default)]
pub struct StreamCommit {
    /// Fields, and the values that they must have. `None`: none.
    pub read: Vec<(String, Option<String>)>,
    /// Fields, and their new values. `None`: the field is removed.
    pub write: Vec<(String, Option<String>)>,
    /// Whether the stream is created: what is left of another one on the channel is removed, except its publications, and
    /// [`FIRST_FIELD`] is set.
    pub is_new: bool,
    /// What the stream inherits from another, each with the position that it has there. They are not published.
    pub inherited: Vec<Publication>,
    /// What is appended and published.
    pub append: Vec<Publication>,
    /// Why the stream ends, after all that.
    pub end: Option<EndReason>,
    pub removal: Removal,
}

/// What a commit removes when it has done everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Removal {
    #[default]
    Nothing,
    /// All publications.
    Publications,
    /// The publications and the fields.
    Stream,
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Done. The last position is that of the end where there is one.
    Done(Option<Position>),
    /// A field had another value, so that nothing was done.
    Conflict,
}

/// The field with the milliseconds for which a stream lives after it was used.
pub const TTL_FIELD: &str = "ttl";

/// The field with the Unix milliseconds until which a stream lives.
pub const EXPIRY_FIELD: &str = "at";

/// The field with the position before the first publication of the stream.
pub const FIRST_FIELD: &str = "first";

/// Stores streams. One without [`TTL_FIELD`] and [`EXPIRY_FIELD`] lives as long as its channel's history.
pub trait StreamStore {
    /// Reads fields of a stream. All are `None` where there is no stream.
    fn stream(
        &self,
        channel: Channel,
        fields: Vec<String>,
    ) -> BoxFuture<'_, Result<StoredStream, Unavailable>>;

    /// A client has read the stream, which lives for its [`TTL_FIELD`] from now on.
    fn renew_stream(&self, channel: Channel) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Changes a stream in one step. Fails with [`ENDED`](super::ENDED) if it is to append or to end, and the
    /// stream has ended.
    fn commit_stream(
        &self,
        channel: Channel,
        commit: StreamCommit,
    ) -> BoxFuture<'_, Result<CommitOutcome, Unavailable>>;
}
