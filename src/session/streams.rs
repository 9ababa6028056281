//! Requests about durable streams.

use std::net::IpAddr;

use tokio::time::Instant;

use super::rates::{RateKind, Rates};
use super::state::code_of;
use super::{Session, SessionContext};
use crate::auth::access::Right;
use crate::broker::{NO_STREAMS, Unavailable};
use crate::protocol::durable::{
    AppendRequest, ContentClass, ContentType, CreateRequest, ReadRequest, StreamAnswer,
    StreamOffset, StreamRequest, messages_of,
};
use crate::protocol::{Code, ReplyError};
use crate::publication::{Channel, Publication};
use crate::streams::{
    DurableStreams, FollowState, ReadOutcome, Sender, StreamDone, StreamFailure, StreamReading,
};
use crate::telemetry::{self, Rejected};

impl Session {
    /// Checks whether the client may use the channel as a stream. `writes`: to change it, or to read it.
    pub fn allow_stream(&self, channel: &Channel, writes: bool) -> Result<(), ReplyError> {
        let right = if writes { Right::Publish } else { Right::Subscribe };
        if let Err(denied) = self.state.check(right, channel) {
            telemetry::rejected(Rejected::Forbidden, &denied);
            return Err(refused(code_of(denied), denied.to_string()));
        }
        let rules = self.context.hub.rules();
        match rules.of(channel.as_str()).streams {
            true => Ok(()),
            false => Err(refused(Code::NotFound, rules.explain_no_streams(channel.as_str()))),
        }
    }

    /// Executes a request that is allowed. `client`: as for [`Session::answer`].
    pub async fn stream(
        &mut self,
        channel: &Channel,
        request: StreamRequest,
        client: IpAddr,
    ) -> Result<ReadOutcome, ReplyError> {
        self.count_stream_request(&request, client)?;
        let context = self.context.clone();
        let streams = context.streams(self.sender());
        let done = match request {
            StreamRequest::Create(create) => {
                if let Some(fork) = &create.fork {
                    self.allow_stream(&fork.from, false)?;
                }
                streams.create(channel, create).await
            }
            StreamRequest::Append(append) => streams.append(channel, append).await,
            StreamRequest::Delete => streams.delete(channel).await,
            StreamRequest::Describe => streams.describe(channel).await,
            StreamRequest::Read(read) => return answered(streams.read(channel, &read).await),
        };
        let outcome = done.map(|StreamDone { answer, published }| {
            published.iter().for_each(|publication| self.report_appended(channel, publication));
            ReadOutcome::Answer(answer)
        });
        answered(outcome)
    }

    /// Finds where a reader of events begins, or the answer that it gets instead.
    pub async fn follow_stream(
        &mut self,
        channel: &Channel,
        read: &ReadRequest,
        client: IpAddr,
    ) -> Result<Result<(StreamReading, FollowState), StreamAnswer>, ReplyError> {
        self.count_stream_request(&StreamRequest::Read(read.clone()), client)?;
        let context = self.context.clone();
        match context.streams(self.sender()).follow(channel, read).await {
            Ok(found) => Ok(Ok(found)),
            Err(StreamFailure::Refused(answer)) => Ok(Err(answer)),
            Err(StreamFailure::Unavailable(why)) => Err(unavailable(why)),
        }
    }

    fn sender(&self) -> Sender {
        Sender { session: self.outbound.session(), user: self.state.principal().user() }
    }

    /// Counts a request, each of its messages as a publication. Fails if it exceeds the client's rate.
    fn count_stream_request(
        &self,
        request: &StreamRequest,
        client: IpAddr,
    ) -> Result<(), ReplyError> {
        let (kind, messages, bytes) = match request {
            StreamRequest::Create(CreateRequest { content_type, body, .. })
            | StreamRequest::Append(AppendRequest { content_type, body, .. }) => {
                let is_json = |it: &ContentType| it.class() == ContentClass::Values;
                let of_json = content_type.as_ref().filter(|it| is_json(it)).and_then(|_| {
                    messages_of(ContentClass::Values, body.clone()).ok().map(|all| all.len())
                });
                (RateKind::Publications, of_json.unwrap_or(1), body.len())
            }
            _ => (RateKind::Commands, 1, 0),
        };
        let now = Instant::now();
        let client = self.request_client(client);
        let count = |rates: &mut Rates| {
            rates.count(kind, messages, now)?;
            rates.count(RateKind::Bytes, bytes, now)
        };
        let counted = self.context.request_rates.with(client, &self.context.limits, now, count);
        counted.map_err(|excess| refused(Code::RateLimited, excess.message()))
    }

    fn report_appended(&self, channel: &Channel, publication: &Publication) {
        telemetry::stream_message_appended(self.format());
        let policy = || self.context.hub.rules().of(channel.as_str());
        let event = self.context.events.publication(channel, policy, publication);
        self.context.events.published(event, publication.position);
    }
}

impl SessionContext {
    fn streams(&self, sender: Sender) -> DurableStreams<'_> {
        DurableStreams { broker: self.hub.broker(), rules: self.hub.rules(), sender }
    }

    /// The answer to a live read that has waited.
    pub async fn read_stream(
        &self,
        channel: &Channel,
        read: ReadRequest,
        reading: &StreamReading,
    ) -> Result<StreamAnswer, ReplyError> {
        let streams = self.streams(Sender { session: self.next_id(), user: None });
        let read = ReadRequest { offset: StreamOffset::Behind(reading.position), ..read };
        match answered(streams.read(channel, &read).await)? {
            ReadOutcome::Answer(answer) => Ok(answer),
            ReadOutcome::Wait(_) => Ok(streams.nothing(reading)),
        }
    }
}

fn answered(outcome: Result<ReadOutcome, StreamFailure>) -> Result<ReadOutcome, ReplyError> {
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(StreamFailure::Refused(answer)) => Ok(ReadOutcome::Answer(answer)),
        Err(StreamFailure::Unavailable(why)) => Err(unavailable(why)),
    }
}

fn unavailable(why: Unavailable) -> ReplyError {
    let code = if why == NO_STREAMS { Code::NotFound } else { Code::Unavailable };
    refused(code, why.to_string())
}

fn refused(code: Code, message: String) -> ReplyError {
    ReplyError { id: None, channel: None, code, message }
}
