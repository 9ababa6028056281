//! Presence through the Redis functions: which calls go to which master, and how often they repeat.

pub mod calls;

use std::time::Duration;

use ::redis::{Cmd, Value};

use self::calls::ROUNDS_MAX;
use super::queries::{Queries, UNEXPECTED_REPLY};
use crate::broker::presence::{Attendance, MembershipState, Renewal};
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, Members};

/// Writes, renews and reads the members of channels.
pub struct RedisPresence {
    pub queries: Queries,
}

impl RedisPresence {
    pub async fn write(
        &self,
        ttl: Duration,
        attendances: &[Attendance],
    ) -> Vec<Result<MembershipState, Unavailable>> {
        let calls = attendances.iter().map(|attendance| {
            let call = self.queries.context.presence.write(ttl, attendance);
            self.call(&attendance.channel, call)
        });
        let answers = self.queries.call_each(calls.collect()).await;
        let state = |answer: Value| calls::membership_state(answer).map_err(|_| UNEXPECTED_REPLY);
        answers.into_iter().map(|answer| answer.and_then(state)).collect()
    }

    pub async fn renew(
        &self,
        ttl: Duration,
        renewals: &[Renewal],
    ) -> Vec<Result<MembershipState, Unavailable>> {
        let calls = renewals.iter().map(|renewal| self.renew_call(ttl, renewal));
        let answers = self.queries.call_each(calls.collect()).await;
        let mut states = Vec::with_capacity(renewals.len());
        for (renewal, answer) in renewals.iter().zip(answers) {
            let renewed =
                answer.and_then(|answer| calls::renewed(answer).map_err(|_| UNEXPECTED_REPLY));
            if renewed.as_ref().is_ok_and(|renewed| renewed.more) {
                // Members of dead nodes remain. An error here does not affect this reply.
                let _ = self.renew_again(ttl, renewal).await;
            }
            states.push(renewed.map(|renewed| renewed.state));
        }
        states
    }

    async fn renew_again(&self, ttl: Duration, renewal: &Renewal) -> Result<(), Unavailable> {
        for _ in 0..ROUNDS_MAX {
            let (channel, call) = self.renew_call(ttl, renewal);
            let answer = self.queries.call(channel, call).await?;
            if !calls::renewed(answer).map_err(|_| UNEXPECTED_REPLY)?.more {
                break;
            }
        }
        Ok(())
    }

    pub async fn members(&self, channel: Channel) -> Result<Members, Unavailable> {
        let (name, call) = self.call(&channel, self.queries.context.presence.members(&channel));
        let answer = self.queries.call(name, call).await?;
        calls::members(answer).map_err(|_| UNEXPECTED_REPLY)
    }

    fn renew_call(&self, ttl: Duration, renewal: &Renewal) -> (Channel, Cmd) {
        self.call(&renewal.channel, self.queries.context.presence.renew(ttl, renewal))
    }

    /// The call, with the Redis channel that determines its master.
    fn call(&self, channel: &Channel, call: Cmd) -> (Channel, Cmd) {
        (self.queries.context.presence_channel(channel), call)
    }
}
