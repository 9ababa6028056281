//! Presence through the functions: what is asked, of which master, and how often again.

pub mod calls;

use std::time::Duration;

use ::redis::{Cmd, Value};

use self::calls::ROUNDS_MAX;
use super::questions::{NOT_UNDERSTOOD, Questions};
use crate::broker::presence::{Attendance, MembershipState, Renewal};
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, Members};

/// Writes, renews and reads the members of channels.
pub struct RedisPresence {
    pub questions: Questions,
}

impl RedisPresence {
    pub async fn write(
        &self,
        ttl: Duration,
        attendances: &[Attendance],
    ) -> Vec<Result<MembershipState, Unavailable>> {
        let calls = attendances.iter().map(|attendance| {
            let call = self.questions.context.presence.write(ttl, attendance);
            self.call(&attendance.channel, call)
        });
        let answers = self.questions.call_each(calls.collect()).await;
        let standing = |answer: Value| calls::standing(answer).map_err(|_| NOT_UNDERSTOOD);
        answers.into_iter().map(|answer| answer.and_then(standing)).collect()
    }

    pub async fn renew(
        &self,
        ttl: Duration,
        renewals: &[Renewal],
    ) -> Vec<Result<MembershipState, Unavailable>> {
        let calls = renewals.iter().map(|renewal| self.renewing(ttl, renewal));
        let answers = self.questions.call_each(calls.collect()).await;
        let mut standings = Vec::with_capacity(renewals.len());
        for (renewal, answer) in renewals.iter().zip(answers) {
            let renewed =
                answer.and_then(|answer| calls::renewed(answer).map_err(|_| NOT_UNDERSTOOD));
            if renewed.as_ref().is_ok_and(|renewed| renewed.more) {
                // Members of dead nodes are left. What they are told does not wait for anything.
                let _ = self.renew_again(ttl, renewal).await;
            }
            standings.push(renewed.map(|renewed| renewed.standing));
        }
        standings
    }

    async fn renew_again(&self, ttl: Duration, renewal: &Renewal) -> Result<(), Unavailable> {
        for _ in 0..ROUNDS_MAX {
            let (channel, call) = self.renewing(ttl, renewal);
            let answer = self.questions.call(channel, call).await?;
            if !calls::renewed(answer).map_err(|_| NOT_UNDERSTOOD)?.more {
                break;
            }
        }
        Ok(())
    }

    pub async fn members(&self, channel: Channel) -> Result<Members, Unavailable> {
        let (name, call) = self.call(&channel, self.questions.context.presence.members(&channel));
        let answer = self.questions.call(name, call).await?;
        calls::members(answer).map_err(|_| NOT_UNDERSTOOD)
    }

    fn renewing(&self, ttl: Duration, renewal: &Renewal) -> (Channel, Cmd) {
        self.call(&renewal.channel, self.questions.context.presence.renew(ttl, renewal))
    }

    /// The question, and the name by which its master is found.
    fn call(&self, channel: &Channel, call: Cmd) -> (Channel, Cmd) {
        (self.questions.context.presence_channel(channel), call)
    }
}
