//! What happens to the publications of a batch after the reply of Redis.

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
use crate::broker::unavailable::{ENDED, NO_RUN, Unavailable};
use crate::publication::Channel;
use crate::telemetry;

const UNCONFIRMED: Unavailable =
    Unavailable("redis took the publication and no replica confirmed it: it may be lost");
const OVERTAKEN: Unavailable =
    Unavailable("redis refused the publication and took a later one of its channel");

/// Replies to the publishers.
pub struct Outcomes {
    lane: Arc<Lane>,
    context: Arc<RedisContext>,
    /// Redis refused a publication of the last batch.
    refused: bool,
}

impl Outcomes {
    pub fn new(lane: Arc<Lane>, context: Arc<RedisContext>) -> Self {
        Self { lane, context, refused: false }
    }

    /// Replies to each publisher. Publications that may be retried are queued again first, unless a
    /// later one of their channel was published: then they fail. Returns the cause of a retry.
    ///
    /// `confirmed`: a replica has what was appended at this master, if the master has replicas.
    pub fn reply(
        &mut self,
        batch: Vec<QueuedPublication>,
        answered: BatchAnswers,
        confirmed: bool,
    ) -> Option<Cause> {
        let BatchAnswers { answers, outcomes, redirected: elsewhere } = answered;
        self.log_refusal(&batch, &outcomes, &answers);
        let cause = outcomes.iter().take(batch.len()).find_map(|outcome| outcome.cause());
        let mut published: HashSet<Channel> = HashSet::new();
        let mut retries = Vec::new();
        for (at, (queued, outcome)) in batch.into_iter().zip(outcomes).enumerate().rev() {
            if cause.is_some() && may_be_published(outcome) {
                published.insert(queued.request.channel.clone());
            }
            match outcome {
                PublishOutcome::Published(None) => queued.request.reply(Ok(None)),
                PublishOutcome::Published(position) => {
                    let confirmed = elsewhere.get(&at).copied().unwrap_or(confirmed);
                    queued.request.reply(if confirmed { Ok(position) } else { Err(UNCONFIRMED) });
                }
                PublishOutcome::Refused(why) => queued.request.reply(Err(why)),
                PublishOutcome::Retry(_) if published.contains(&queued.request.channel) => {
                    queued.request.reply(Err(OVERTAKEN));
                }
                PublishOutcome::Retry(_) => retries.push(queued),
            }
        }
        if !retries.is_empty() {
            retries.reverse();
            self.context.map.requeue(self.lane.number, retries);
        }
        cause
    }

    /// Logs only the first of several refusals in a row, because there may be thousands a second.
    fn log_refusal(
        &mut self,
        batch: &[QueuedPublication],
        outcomes: &[PublishOutcome],
        answers: &[Value],
    ) {
        let mut each = batch.iter().zip(outcomes.iter().zip(answers));
        let refusal = each.find(|(_, (outcome, _))| {
            // Changes of masters are logged elsewhere.
            !matches!(
                outcome,
                PublishOutcome::Published(_)
                    // The publisher's fault, not that of Redis.
                    | PublishOutcome::Refused(ENDED | NO_RUN)
                    | PublishOutcome::Retry(Cause::Moved | Cause::Ask | Cause::TryAgain)
            )
        });
        if let (Some((queued, (_, error))), false) = (refusal, self.refused) {
            let channel = &queued.request.channel;
            // Clients' channel names are not logged.
            let is_own =
                announcement::is_channel(channel.as_str()) || Channel::is_probe(channel.as_str());
            let own = is_own.then(|| self.context.name(channel));
            let error = format_args!("{error:?}");
            telemetry::broker_refused("PUBLISH", &own.unwrap_or_default(), &error);
        }
        self.refused = refusal.is_some();
    }
}

fn may_be_published(outcome: PublishOutcome) -> bool {
    matches!(outcome, PublishOutcome::Published(_) | PublishOutcome::Refused(UNANSWERED))
}
