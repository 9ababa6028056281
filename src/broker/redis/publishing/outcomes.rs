//! What becomes of the publications of a batch once Redis has answered.

use std::collections::HashSet;
use std::sync::Arc;

use ::redis::Value;

use super::master_queue::QueuedPublication;
use super::publish_outcome::{PublishOutcome, UNANSWERED};
use super::redirects::BatchAnswers;
use crate::broker::redis::announcement;
use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::context::RedisContext;
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
    context: Arc<RedisContext>,
    /// Redis refused something of the last batch.
    refused: bool,
}

impl Outcomes {
    pub fn new(lane: Arc<Lane>, context: Arc<RedisContext>) -> Self {
        Self { lane, context, refused: false }
    }

    /// Tells each publisher. What may go out again stands first in line again, unless a later one
    /// of its channel has gone out: then it is too late. Returns why something is to go out again.
    ///
    /// `confirmed`: what was appended to histories here is on a replica, as far as there are any.
    pub fn tell(
        &mut self,
        batch: Vec<QueuedPublication>,
        answered: BatchAnswers,
        confirmed: bool,
    ) -> Option<Cause> {
        let BatchAnswers { answers, verdicts, elsewhere } = answered;
        self.tell_refusal(&batch, &verdicts, &answers);
        let cause = verdicts.iter().take(batch.len()).find_map(|verdict| verdict.cause());
        let mut taken: HashSet<Channel> = HashSet::new();
        let mut again = Vec::new();
        for (at, (queued, verdict)) in batch.into_iter().zip(verdicts).enumerate().rev() {
            if cause.is_some() && may_be_taken(verdict) {
                taken.insert(queued.item.channel.clone());
            }
            match verdict {
                PublishOutcome::Taken(None) => queued.item.answer(Ok(None)),
                PublishOutcome::Taken(position) => {
                    let confirmed = elsewhere.get(&at).copied().unwrap_or(confirmed);
                    queued.item.answer(if confirmed { Ok(position) } else { Err(UNCONFIRMED) });
                }
                PublishOutcome::Refused(why) => queued.item.answer(Err(why)),
                PublishOutcome::Later(_) if taken.contains(&queued.item.channel) => {
                    queued.item.answer(Err(OVERTAKEN));
                }
                PublishOutcome::Later(_) => again.push(queued),
            }
        }
        if !again.is_empty() {
            again.reverse();
            self.context.map.put_back(self.lane.number, again);
        }
        cause
    }

    /// Tells the first of Redis' refusals in a row: there may be thousands a second.
    fn tell_refusal(
        &mut self,
        batch: &[QueuedPublication],
        verdicts: &[PublishOutcome],
        answers: &[Value],
    ) {
        let mut each = batch.iter().zip(verdicts.iter().zip(answers));
        let refusal = each.find(|(_, (verdict, _))| {
            // That masters change is told elsewhere.
            !matches!(
                verdict,
                PublishOutcome::Taken(_)
                    | PublishOutcome::Later(Cause::Moved | Cause::Asked | Cause::Split)
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

fn may_be_taken(verdict: PublishOutcome) -> bool {
    matches!(verdict, PublishOutcome::Taken(_) | PublishOutcome::Refused(UNANSWERED))
}
