//! What becomes of the publications of a batch once Redis has answered.

use std::collections::HashSet;
use std::sync::Arc;

use ::redis::Value;

use super::detour::Answered;
use super::line::Queued;
use super::verdict::{UNANSWERED, Verdict};
use crate::broker::redis::announcement;
use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::context::Context;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;
use crate::telemetry;

const UNCONFIRMED: Unavailable =
    Unavailable("redis took the publication and no replica confirmed it: it may be lost");
const OVERTAKEN: Unavailable =
    Unavailable("redis refused the publication and took a later one of its channel");

/// Tells them.
pub struct Outcomes {
    lane: Arc<Lane>,
    context: Arc<Context>,
    /// Redis refused something of the last batch.
    refused: bool,
}

impl Outcomes {
    pub fn new(lane: Arc<Lane>, context: Arc<Context>) -> Self {
        Self { lane, context, refused: false }
    }

    /// Tells each publisher. What may go out again stands first in line again, unless a later one
    /// of its channel has gone out: then it is too late. Returns why something is to go out again.
    ///
    /// `confirmed`: what was appended to histories here is on a replica, as far as there are any.
    pub fn tell(
        &mut self,
        batch: Vec<Queued>,
        answered: Answered,
        confirmed: bool,
    ) -> Option<Cause> {
        let Answered { answers, verdicts, elsewhere } = answered;
        self.tell_refusal(&batch, &verdicts, &answers);
        let cause = verdicts.iter().take(batch.len()).find_map(|verdict| verdict.cause());
        let mut taken: HashSet<Channel> = HashSet::new();
        let mut again = Vec::new();
        for (at, (queued, verdict)) in batch.into_iter().zip(verdicts).enumerate().rev() {
            if cause.is_some() && may_be_taken(verdict) {
                taken.insert(queued.item.channel.clone());
            }
            match verdict {
                Verdict::Taken(None) => queued.item.answer(Ok(None)),
                Verdict::Taken(position) => {
                    let confirmed = elsewhere.get(&at).copied().unwrap_or(confirmed);
                    queued.item.answer(if confirmed { Ok(position) } else { Err(UNCONFIRMED) });
                }
                Verdict::Refused(why) => queued.item.answer(Err(why)),
                Verdict::Later(_) if taken.contains(&queued.item.channel) => {
                    queued.item.answer(Err(OVERTAKEN));
                }
                Verdict::Later(_) => again.push(queued),
            }
        }
        if !again.is_empty() {
            again.reverse();
            self.context.map.put_back(self.lane.number, again);
        }
        cause
    }

    /// Tells the first of Redis' refusals in a row: there may be thousands a second.
    fn tell_refusal(&mut self, batch: &[Queued], verdicts: &[Verdict], answers: &[Value]) {
        let mut each = batch.iter().zip(verdicts.iter().zip(answers));
        let refusal = each.find(|(_, (verdict, _))| {
            // That masters change is told elsewhere.
            !matches!(
                verdict,
                Verdict::Taken(_) | Verdict::Later(Cause::Moved | Cause::Asked | Cause::Split)
            )
        });
        if let (Some((queued, (_, error))), false) = (refusal, self.refused) {
            let channel = &queued.item.channel;
            // Users' channels are not logged.
            let is_own =
                announcement::is_channel(channel.as_str()) || Channel::is_probe(channel.as_str());
            let own = is_own.then(|| self.context.name(channel));
            let error = format_args!("{error:?}");
            telemetry::broker_refused("PUBLISH", &own.unwrap_or_default(), &error);
        }
        self.refused = refusal.is_some();
    }
}

fn may_be_taken(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Taken(_) | Verdict::Refused(UNANSWERED))
}
