//! The commands of one session that the broker has not yet answered, oldest first.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Poll, ready};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::pattern_request::PatternRequest;
use super::run_search::{FollowRequest, RunCheck};
use crate::auth::{Identity, TokenRefused};
use crate::broker::{PublishedEvent, Receipt, Unavailable};
use crate::hub::Interest;
use crate::presence::MembersRead;
use crate::protocol::{Id, Reply};
use crate::publication::{Channel, Position};
use crate::telemetry::Trace;

/// Most publications in flight for one session. Beyond that the session reads nothing, so that TCP flow
/// control slows the client down; 64 publications still share a round trip.
const IN_FLIGHT_MAX: usize = 64;

/// The pending commands of one session. Replies are in the order of the commands.
#[derive(Default)]
pub struct InFlight {
    pending: VecDeque<PendingCommand>,
    subscribing: usize,
    query_pending: bool,
}

enum PendingCommand {
    Publish {
        id: Option<Id>,
        receipt: Receipt<Option<Position>>,
        started: Instant,
        trace: Trace,
        event: Option<Box<PublishedEvent>>,
    },
    Subscribe {
        id: Option<Id>,
        interest: Interest,
        echo: bool,
    },
    SubscribePattern {
        request: Box<PatternRequest>,
    },
    Query {
        future: BoxFuture<'static, Option<Reply>>,
    },
    Authentication {
        id: Option<Id>,
        future: BoxFuture<'static, TokenCheck>,
    },
    Join {
        id: Option<Id>,
        channel: Channel,
        future: BoxFuture<'static, MembersRead>,
    },
    FindRun {
        request: Box<FollowRequest>,
        future: BoxFuture<'static, RunCheck>,
    },
}

/// The identity that a token gives, or why it is refused.
pub type TokenCheck = Result<Identity, TokenRefused>;

/// A command with the broker's answer.
pub enum CompletedCommand {
    Published {
        id: Option<Id>,
        started: Instant,
        trace: Trace,
        /// To be reported if it is accepted.
        event: Option<Box<PublishedEvent>>,
        answer: Result<Option<Position>, Unavailable>,
    },
    Subscribed {
        id: Option<Id>,
        interest: Interest,
        echo: bool,
        answer: Result<(), Unavailable>,
    },
    PatternConfirmed {
        request: Box<PatternRequest>,
        answer: Result<(), Unavailable>,
    },
    /// A query was answered. None: the query has queued its reply itself.
    Answered(Option<Reply>),
    Authenticated {
        id: Option<Id>,
        answer: TokenCheck,
    },
    Joined {
        id: Option<Id>,
        channel: Channel,
        answer: MembersRead,
    },
    RunFound {
        request: Box<FollowRequest>,
        answer: RunCheck,
    },
}

impl InFlight {
    pub fn publish(
        &mut self,
        id: Option<Id>,
        receipt: Receipt<Option<Position>>,
        started: Instant,
        trace: Trace,
        event: Option<Box<PublishedEvent>>,
    ) {
        self.pending.push_back(PendingCommand::Publish { id, receipt, started, trace, event });
    }

    pub fn subscribe(&mut self, id: Option<Id>, interest: Interest, echo: bool) {
        self.subscribing += 1;
        self.pending.push_back(PendingCommand::Subscribe { id, interest, echo });
    }

    /// Adds a subscription to a pattern.
    pub fn subscribe_pattern(&mut self, request: PatternRequest) {
        self.query_pending = true;
        let request = Box::new(request);
        self.pending.push_back(PendingCommand::SubscribePattern { request });
    }

    /// Adds a query, such as `history`. Its future resolves to the reply, or to None if it has queued the
    /// reply itself.
    pub fn query(&mut self, future: BoxFuture<'static, Option<Reply>>) {
        self.query_pending = true;
        self.pending.push_back(PendingCommand::Query { future });
    }

    /// Adds a token check.
    pub fn authenticate(&mut self, id: Option<Id>, future: BoxFuture<'static, TokenCheck>) {
        self.query_pending = true;
        self.pending.push_back(PendingCommand::Authentication { id, future });
    }

    /// Adds a query for the members of a channel to which the session is subscribed.
    pub fn join(
        &mut self,
        id: Option<Id>,
        channel: Channel,
        future: BoxFuture<'static, MembersRead>,
    ) {
        self.query_pending = true;
        self.pending.push_back(PendingCommand::Join { id, channel, future });
    }

    /// Adds the search for a run.
    pub fn find_run(&mut self, request: FollowRequest, future: BoxFuture<'static, RunCheck>) {
        self.query_pending = true;
        self.pending.push_back(PendingCommand::FindRun { request: Box::new(request), future });
    }

    /// Whether the session may read another command. Not while a subscription is pending: a publication of
    /// the same client right after it must be delivered to it. Not while a token check is pending: it decides
    /// what the next command may do. Not while a query is pending: its reply may be large.
    pub fn has_room(&self) -> bool {
        self.subscribing == 0 && !self.query_pending && self.pending.len() < IN_FLIGHT_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many subscriptions are not yet confirmed.
    pub fn subscribing(&self) -> usize {
        self.subscribing
    }

    /// Resolves to the oldest command once it is answered; never resolves if there is none. Cancel safe.
    pub fn next(&mut self) -> impl Future<Output = CompletedCommand> {
        std::future::poll_fn(|cx| {
            let completed = match self.pending.front_mut() {
                None => return Poll::Pending,
                Some(PendingCommand::Publish { id, receipt, started, trace, event }) => {
                    let answer = ready!(Pin::new(receipt).poll(cx));
                    let trace = std::mem::take(trace);
                    let completed = CompletedCommand::Published {
                        id: id.take(),
                        started: *started,
                        trace,
                        event: event.take(),
                        answer,
                    };
                    self.pending.pop_front();
                    completed
                }
                Some(PendingCommand::Query { future }) => {
                    let reply = ready!(future.as_mut().poll(cx));
                    self.pending.pop_front();
                    self.query_pending = false;
                    CompletedCommand::Answered(reply)
                }
                Some(PendingCommand::Authentication { id, future }) => {
                    let answer = ready!(future.as_mut().poll(cx));
                    let id = id.take();
                    self.pending.pop_front();
                    self.query_pending = false;
                    CompletedCommand::Authenticated { id, answer }
                }
                Some(PendingCommand::Join { id, channel, future }) => {
                    let answer = ready!(future.as_mut().poll(cx));
                    let (id, channel) = (id.take(), channel.clone());
                    self.pending.pop_front();
                    self.query_pending = false;
                    CompletedCommand::Joined { id, channel, answer }
                }
                Some(PendingCommand::FindRun { future, .. }) => {
                    let answer = ready!(future.as_mut().poll(cx));
                    let Some(PendingCommand::FindRun { request, .. }) = self.pending.pop_front()
                    else {
                        return Poll::Pending;
                    };
                    self.query_pending = false;
                    CompletedCommand::RunFound { request, answer }
                }
                Some(PendingCommand::SubscribePattern { request }) => {
                    let answer = ready!(Pin::new(&mut request.interest).poll(cx));
                    let Some(PendingCommand::SubscribePattern { request }) =
                        self.pending.pop_front()
                    else {
                        return Poll::Pending;
                    };
                    self.query_pending = false;
                    CompletedCommand::PatternConfirmed { request, answer }
                }
                Some(PendingCommand::Subscribe { interest, .. }) => {
                    let answer = ready!(Pin::new(interest).poll(cx));
                    let Some(PendingCommand::Subscribe { id, interest, echo }) =
                        self.pending.pop_front()
                    else {
                        return Poll::Pending;
                    };
                    self.subscribing -= 1;
                    CompletedCommand::Subscribed { id, interest, echo, answer }
                }
            };
            if self.pending.is_empty() {
                // An idle session holds no queue memory.
                self.pending = VecDeque::new();
            }
            Poll::Ready(completed)
        })
    }
}
