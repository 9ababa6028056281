//! What the client asked for and the broker has not yet answered, oldest first.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Poll, ready};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::auth::{Identity, TokenRefused};
use crate::broker::{Receipt, Unavailable};
use crate::hub::Interest;
use crate::protocol::{Id, Reply};
use crate::publication::Position;
use crate::telemetry::Trace;

/// Most publications in flight for one session. Beyond that its socket is not read: the client is
/// held back by TCP, and many of its publications share a round trip all the same.
const IN_FLIGHT_MAX: usize = 64;

/// The waiting commands of one session. Answers come in the order of the commands.
#[derive(Default)]
pub struct InFlight {
    waiting: VecDeque<PendingCommand>,
    subscribing: usize,
    asking: bool,
}

enum PendingCommand {
    Publish { id: Option<Id>, receipt: Receipt<Option<Position>>, started: Instant, trace: Trace },
    Subscribe { id: Option<Id>, interest: Interest, echo: bool },
    Question { reading: BoxFuture<'static, Option<Reply>> },
    Authentication { id: Option<Id>, checking: BoxFuture<'static, TokenCheck> },
}

/// Whose a token is, or why it is not accepted.
pub type TokenCheck = Result<Identity, TokenRefused>;

/// What the broker has answered.
pub enum CompletedCommand {
    Published {
        id: Option<Id>,
        started: Instant,
        trace: Trace,
        answer: Result<Option<Position>, Unavailable>,
    },
    Subscribed {
        id: Option<Id>,
        interest: Interest,
        echo: bool,
        answer: Result<(), Unavailable>,
    },
    /// A question was answered, in whatever way. None: the answer is queued already.
    Answered(Option<Reply>),
    Authenticated {
        id: Option<Id>,
        answer: TokenCheck,
    },
}

impl InFlight {
    pub fn publish(
        &mut self,
        id: Option<Id>,
        receipt: Receipt<Option<Position>>,
        started: Instant,
        trace: Trace,
    ) {
        self.waiting.push_back(PendingCommand::Publish { id, receipt, started, trace });
    }

    pub fn subscribe(&mut self, id: Option<Id>, interest: Interest, echo: bool) {
        self.subscribing += 1;
        self.waiting.push_back(PendingCommand::Subscribe { id, interest, echo });
    }

    /// A question, such as for history, that resolves to its answer; to None where it has queued it itself.
    pub fn ask(&mut self, reading: BoxFuture<'static, Option<Reply>>) {
        self.asking = true;
        self.waiting.push_back(PendingCommand::Question { reading });
    }

    /// A token is being checked.
    pub fn authenticate(&mut self, id: Option<Id>, checking: BoxFuture<'static, TokenCheck>) {
        self.asking = true;
        self.waiting.push_back(PendingCommand::Authentication { id, checking });
    }

    /// May another command be read? Not while a subscription is pending, so that what the client
    /// publishes right after it comes back to it; not while a token is checked, which decides what
    /// the next one may do; and not while a question is, whose answer may be large.
    pub fn has_room(&self) -> bool {
        self.subscribing == 0 && !self.asking && self.waiting.len() < IN_FLIGHT_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Subscriptions that are not yet confirmed.
    pub fn subscribing(&self) -> usize {
        self.subscribing
    }

    /// The oldest command, once it is answered. Never resolves while there is none. Cancel safe.
    pub fn next(&mut self) -> impl Future<Output = CompletedCommand> {
        std::future::poll_fn(|cx| {
            let done = match self.waiting.front_mut() {
                None => return Poll::Pending,
                Some(PendingCommand::Publish { id, receipt, started, trace }) => {
                    let answer = ready!(Pin::new(receipt).poll(cx));
                    let trace = std::mem::take(trace);
                    let done = CompletedCommand::Published {
                        id: id.take(),
                        started: *started,
                        trace,
                        answer,
                    };
                    self.waiting.pop_front();
                    done
                }
                Some(PendingCommand::Question { reading }) => {
                    let reply = ready!(reading.as_mut().poll(cx));
                    self.waiting.pop_front();
                    self.asking = false;
                    CompletedCommand::Answered(reply)
                }
                Some(PendingCommand::Authentication { id, checking }) => {
                    let answer = ready!(checking.as_mut().poll(cx));
                    let id = id.take();
                    self.waiting.pop_front();
                    self.asking = false;
                    CompletedCommand::Authenticated { id, answer }
                }
                Some(PendingCommand::Subscribe { interest, .. }) => {
                    let answer = ready!(Pin::new(interest).poll(cx));
                    let Some(PendingCommand::Subscribe { id, interest, echo }) =
                        self.waiting.pop_front()
                    else {
                        return Poll::Pending;
                    };
                    self.subscribing -= 1;
                    CompletedCommand::Subscribed { id, interest, echo, answer }
                }
            };
            if self.waiting.is_empty() {
                // An idle session holds no queue.
                self.waiting = VecDeque::new();
            }
            Poll::Ready(done)
        })
    }
}
