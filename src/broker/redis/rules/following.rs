//! Keeps the node in step with the rules that its fleet has in Redis: they are looked at whenever another
//! node says that it has installed some, whenever that could have gone unheard, and now and then.
//!
//! Other rules take effect a moment after they were installed, at one time of the server's clock for the
//! whole fleet. A node that has heard of them by then appends what they keep, whatever its own
//! configuration says. One that heard of them later has published past histories, and has them begin
//! anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::bypassed_history::BypassedHistory;
use super::installing::install;
use super::mismatch::Mismatch;
use crate::backoff::jittered;
use crate::broker::redis::connection::pool::QuestionError;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::functions::fleet::LibraryFleet;
use crate::broker::redis::lanes::lane::Lane;
use crate::telemetry;

/// How often the rules in Redis are looked at though nobody said that they are others: cut by up to half
/// at random, so that the nodes of a fleet do not ask in one instant.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The same while it is not known what this node has published past other rules.
const UNSETTLED_INTERVAL: Duration = Duration::from_secs(1);

/// How long what goes out by the rules from before is waited for.
const FLIGHT_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at the rules of all masters, for ever.
pub async fn run(context: Arc<RedisContext>) -> Infallible {
    let mut mismatch = Mismatch::default();
    let mut is_settled = true;
    loop {
        let pause = if is_settled { CHECK_INTERVAL } else { UNSETTLED_INTERVAL };
        let pause = jittered(pause, 0.5);
        // Whether there is news or not.
        let _ = timeout(pause, context.rules_news.notified()).await;
        let lanes = context.map.lanes();
        let numbers: Vec<_> = lanes.iter().map(|lane| lane.number).collect();
        context.routing.forget_others(&numbers);
        let looks = join_all(lanes.iter().map(|lane| look(&context, lane))).await;
        if looks.iter().all(|look| matches!(look, Ok(RulesCheck::Same))) {
            context.routing.plain.nothing_has_changed();
        }
        is_settled = numbers.iter().all(|lane| context.routing.is_settled(*lane));
        let library = context.library.current();
        let fleets = context.routing.fleets();
        let other = fleets.iter().find(|fleet| !library.is_as_configured(fleet));
        mismatch.look(other.map(LibraryFleet::installed_by), Instant::now());
    }
}

enum RulesCheck {
    Same,
    Changed,
}

/// Looks at the rules of one master, and tells it what this node has published past them.
async fn look(context: &RedisContext, lane: &Lane) -> Result<RulesCheck, QuestionError> {
    let looked = install(context, lane, &BypassedHistory::default()).await;
    looked.inspect_err(|error| telemetry::broker_did_not_answer(error))?;
    if context.routing.is_settled(lane.number) {
        return Ok(RulesCheck::Same);
    }
    // What went out by the rules from before is answered; what comes later goes by the new ones.
    drop(timeout(FLIGHT_TIMEOUT, lane.flight.lock()).await);
    let past = context.routing.plain.past();
    install(context, lane, &past).await?;
    context.routing.settle(lane.number);
    Ok(RulesCheck::Changed)
}
