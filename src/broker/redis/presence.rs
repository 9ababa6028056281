//! Presence through the functions: what is asked, of which master, and how often again.

pub mod calls;

use std::time::Duration;

use ::redis::{Cmd, Value};
use futures_util::future::BoxFuture;

use crate::broker::redis::NOT_UNDERSTOOD;
use crate::broker::redis::Redis;
use crate::broker::redis::presence::calls::ROUNDS_MAX;
use crate::broker::{Attendance, Presences, Renewal, Standing, Unavailable};
use crate::publication::{Channel, Members};

impl Redis {
    /// The question and the name by which its master is found.
    fn roster_call(&self, channel: &Channel, call: Cmd) -> (Channel, Cmd) {
        (self.0.roster(channel), call)
    }

    async fn renew(&self, ttl: Duration, renewal: &Renewal) -> Result<Standing, Unavailable> {
        let mut standing = None;
        for _ in 0..ROUNDS_MAX {
            let call = self.0.presence.renew(ttl, renewal);
            let call = self.roster_call(&renewal.channel, call);
            let answer = self.call_each(vec![call]).await.pop().unwrap_or(Err(NOT_UNDERSTOOD))?;
            let renewed = calls::renewed(answer).map_err(|_| NOT_UNDERSTOOD)?;
            // What the first round found counts: it has put it right.
            standing.get_or_insert(renewed.standing);
            if !renewed.more {
                break;
            }
        }
        standing.ok_or(NOT_UNDERSTOOD)
    }
}

impl Presences for Redis {
    fn write_members<'a>(
        &'a self,
        ttl: Duration,
        attendances: &'a [Attendance],
    ) -> BoxFuture<'a, Vec<Result<Standing, Unavailable>>> {
        Box::pin(async move {
            let calls = attendances.iter().map(|attendance| {
                let call = self.0.presence.write(ttl, attendance);
                self.roster_call(&attendance.channel, call)
            });
            let answers = self.call_each(calls.collect()).await;
            let standing = |answer: Value| calls::standing(answer).map_err(|_| NOT_UNDERSTOOD);
            answers.into_iter().map(|answer| answer.and_then(standing)).collect()
        })
    }

    fn renew_members<'a>(
        &'a self,
        ttl: Duration,
        renewals: &'a [Renewal],
    ) -> BoxFuture<'a, Vec<Result<Standing, Unavailable>>> {
        Box::pin(async move {
            let calls = renewals.iter().map(|renewal| {
                self.roster_call(&renewal.channel, self.0.presence.renew(ttl, renewal))
            });
            let answers = self.call_each(calls.collect()).await;
            let mut standings = Vec::with_capacity(renewals.len());
            for (renewal, answer) in renewals.iter().zip(answers) {
                let renewed =
                    answer.and_then(|answer| calls::renewed(answer).map_err(|_| NOT_UNDERSTOOD));
                if renewed.as_ref().is_ok_and(|renewed| renewed.more) {
                    // Members of dead nodes are left. What they are told does not wait for anything.
                    let _ = self.renew(ttl, renewal).await;
                }
                standings.push(renewed.map(|renewed| renewed.standing));
            }
            standings
        })
    }

    fn members(&self, channel: Channel) -> BoxFuture<'_, Result<Members, Unavailable>> {
        Box::pin(async move {
            let call = self.roster_call(&channel, self.0.presence.members(&channel));
            let answer = self.call_each(vec![call]).await.pop().unwrap_or(Err(NOT_UNDERSTOOD))?;
            calls::members(answer).map_err(|_| NOT_UNDERSTOOD)
        })
    }
}
