//! Follows the fleet's rules in Redis. The node reads them when another node announces that it has
//! installed some, when such a message may have been missed, and periodically.
//!
//! Changed rules take effect a moment after they were installed, at one time of the server's clock
//! for the whole fleet. A node that has read them by then appends where they keep history, whatever
//! its own configuration is. A node that reads them later has bypassed histories with its
//! publications, and makes these histories start again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::bypassed_history::BypassedHistory;
use super::installing::{begin_read, install};
use super::mismatch::Mismatch;
use crate::backoff::jittered;
use crate::broker::redis::connection::pool::QueryError;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::functions::fleet::LibraryFleet;
use crate::broker::redis::lanes::lane::Lane;
use crate::telemetry;

/// How often the rules in Redis are read without a message. Shortened at random by up to half, so
/// that the nodes of a fleet do not read at the same moment.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The interval while it is not settled which histories this node has bypassed.
const UNSETTLED_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait for the replies to publications that were sent under the old rules.
const FLIGHT_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks the rules of all masters, without end.
pub async fn run(context: Arc<RedisContext>) -> Infallible {
    let mut mismatch = Mismatch::default();
    let mut is_settled = true;
    loop {
        let pause = if is_settled { CHECK_INTERVAL } else { UNSETTLED_INTERVAL };
        let pause = jittered(pause, 0.5);
        // The check runs after a notification and after the pause.
        let _ = timeout(pause, context.rules_may_have_changed.notified()).await;
        let lanes = context.map.lanes();
        let numbers: Vec<_> = lanes.iter().map(|lane| lane.number).collect();
        context.routing.forget_others(&numbers);
        let checks = join_all(lanes.iter().map(|lane| check(&context, lane))).await;
        if checks.iter().all(|checked| matches!(checked, Ok(RulesCheck::Same))) {
            context.routing.plain_publishes.rules_unchanged();
        }
        is_settled = numbers.iter().all(|lane| context.routing.is_settled(*lane));
        let library = context.library.current();
        let fleets = context.routing.fleets();
        let other = fleets.iter().find(|fleet| !library.is_as_configured(fleet));
        mismatch.update(other.map(LibraryFleet::installed_by), Instant::now());
    }
}

enum RulesCheck {
    Same,
    Changed,
}

/// Checks the rules of one master, and reports there which histories this node has bypassed.
async fn check(context: &RedisContext, lane: &Lane) -> Result<RulesCheck, QueryError> {
    let installed = install(context, lane, &BypassedHistory::default()).await;
    installed.inspect_err(|error| telemetry::broker_did_not_answer(error))?;
    if context.routing.is_settled(lane.number) {
        return Ok(RulesCheck::Same);
    }
    // Publications sent under the old rules have their replies now; later ones use the new rules.
    drop(timeout(FLIGHT_TIMEOUT, lane.in_flight.lock()).await);
    let before = begin_read(context).unanswered_since;
    let report = context.routing.begin_report(lane.number);
    let reported = install(context, lane, &report.bypassed).await;
    context.routing.end_report(lane.number, &report, reported.is_ok(), before);
    reported.map(|()| RulesCheck::Changed)
}
