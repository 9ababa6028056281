//! The commands that follow a run and leave it.

use futures_util::FutureExt;
use tokio::time::Instant;

use super::Session;
use super::run_search::{FollowRequest, RunCheck, RunWanted, find_run};
use crate::auth::access::Right;
use crate::broker::RunState;
use crate::protocol::{Code, Id, Reply, ReplyError};
use crate::publication::{Channel, Publication, ReplayStart};

impl Session {
    /// Starts to follow a run.
    pub(super) fn follow_run(
        &mut self,
        id: Option<Id>,
        channel: Channel,
        with_ended: bool,
        request: Option<Publication>,
    ) {
        if request.is_some() && !self.has_control(&channel) {
            let message =
                "what clients send reaches no worker: the channel's rule has no run.control";
            return self.refuse_to_follow(id, &channel, Code::BadRequest, message);
        }
        let wanted = if with_ended { RunWanted::Kept } else { RunWanted::Open };
        let search = find_run(self.context.hub.clone(), channel.clone()).boxed();
        self.in_flight.find_run(FollowRequest { id, channel, wanted, request }, search);
    }

    /// The run is known: subscribes to it, and publishes what its worker is to answer.
    pub(super) fn run_found(&mut self, follow: FollowRequest, answer: RunCheck) {
        let FollowRequest { id, channel, wanted, request } = follow;
        let found = match answer {
            Ok(found) => found,
            Err(unavailable) => {
                let refused = self.unavailable(id, Some(channel.to_string()), unavailable);
                return self.reply_or_close(refused);
            }
        };
        match found {
            RunState::Ended(_) if request.is_some() => {
                let message = "the run has ended: each answer needs a channel of its own";
                return self.refuse_to_follow(id, &channel, Code::Ended, message);
            }
            RunState::None if request.is_none() => {
                let message = "there is no run on the channel";
                return self.refuse_to_follow(id, &channel, Code::NotFound, message);
            }
            RunState::Ended(_) if wanted == RunWanted::Open => {
                let message = "the run has ended";
                return self.refuse_to_follow(id, &channel, Code::NotFound, message);
            }
            _ => {}
        }
        self.subscriptions.retain(|joined| !joined.is_of(&channel));
        let interest = self.context.hub.interest(channel.clone(), Some(ReplayStart::First));
        self.in_flight.subscribe(id.clone(), interest, true);
        if let Some(publication) = request {
            self.publish(id, channel, publication, Instant::now());
        }
    }

    /// Unsubscribes from a run, and tells its worker if the client may.
    pub(super) fn leave_run(
        &mut self,
        id: Option<Id>,
        channel: Channel,
        request: Publication,
        now: Instant,
    ) {
        if self.has_control(&channel) && self.state.check(Right::Publish, &channel).is_ok() {
            self.publish(None, channel.clone(), request, now);
        }
        self.subscriptions.retain(|joined| !joined.is_of(&channel));
        self.reply(&Reply::Unsubscribed { id, channel });
    }

    /// Whether what clients publish on the channel goes to a control channel.
    fn has_control(&self, channel: &Channel) -> bool {
        self.context.hub.rules().get().control(channel.as_str()).is_some()
    }

    fn refuse_to_follow(&self, id: Option<Id>, channel: &Channel, code: Code, message: &str) {
        let (channel, message) = (Some(channel.to_string()), message.to_owned());
        self.reply(&Reply::Error(ReplyError { id, channel, code, message }));
    }
}
