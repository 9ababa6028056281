//! Installs this node's rules on the masters, and takes over the rules found there.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::bypassed_history::BypassedHistory;
use super::routing::RulesRead;
use super::rule_changes::PendingRules;
use crate::broker::redis::announcement;
use crate::broker::redis::connection::pool::QueryError;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::functions::fleet;
use crate::broker::redis::functions::library::Found;
use crate::broker::redis::lanes::lane::Lane;
use crate::publication::Publication;
use crate::telemetry;

/// How long before its new rules take effect a node uses them. By then publications for the
/// affected channels wait for them (`rule_changes.rs`).
const OWN_RULES_LEAD: Duration = Duration::from_millis(100);

/// Numbers a read of a master's rules, which begins now.
pub fn begin_read(context: &RedisContext) -> RulesRead {
    let number = context.routing.plain_publishes.begin();
    // Publications that are redirected are in flight in another master's lane.
    let lanes = context.map.lanes();
    let oldest = lanes.iter().map(|lane| lane.in_flight.unanswered_since(number)).min();
    RulesRead { number, unanswered_since: oldest.unwrap_or(number) }
}

/// Takes over the rules found on a master.
fn learn(
    context: &RedisContext,
    lane: &Lane,
    read: RulesRead,
    found: &Found,
) -> Option<PendingRules> {
    // A command has no rules of its own.
    let own = (!context.is_command).then(|| context.rules.current());
    let change = context.routing.learn(lane.number, read, found, own);
    if !context.routing.is_settled(lane.number) {
        context.rules_may_have_changed.notify_one();
    }
    if let Some((_, left)) = found.fleet.as_ref().and_then(|fleet| fleet.rules_before(found.now)) {
        context.state.rules_apply_in(Duration::from_millis(left));
    }
    if found.is_new && !context.is_command {
        let message = Publication::bare(announcement::rules_installed(context.node).into());
        // A node that misses the message reads the rules periodically, so there is no need to wait
        // for the receipt.
        drop(context.publish(announcement::channel(), message));
    }
    change
}

/// Does the same, and schedules the event for the hub.
pub fn learn_and_schedule(context: &RedisContext, lane: &Lane, read: RulesRead, found: &Found) {
    if let Some(change) = learn(context, lane, read, found) {
        let own = fleet::rule_list(&context.rules.current());
        lane.rule_changes.add(PendingRules { own, ..change }, Instant::now());
    }
}

/// Installs this node's rules on a master; a command only reads those there.
pub async fn install(
    context: &RedisContext,
    lane: &Lane,
    bypassed: &BypassedHistory,
) -> Result<(), QueryError> {
    let read = begin_read(context);
    let found = lane.install(&context.library.current(), bypassed, context.is_command).await?;
    learn_and_schedule(context, lane, read, &found);
    Ok(())
}

/// Installs this node's new rules on all masters, and waits until they are about to take effect.
pub async fn install_everywhere(context: &RedisContext) {
    let library = context.library.current();
    let lanes = context.map.lanes();
    let installs = lanes.iter().map(|lane| async {
        let read = begin_read(context);
        match lane.install(&library, &BypassedHistory::default(), context.is_command).await {
            Ok(found) => {
                // The hub learns of its own new rules elsewhere.
                learn(context, lane, read, &found);
                let pending = found.fleet.and_then(|fleet| fleet.rules_before(found.now));
                pending.map_or(0, |(_, left)| left)
            }
            // A master that cannot be reached now gets the rules when the node reconnects.
            Err(error) => {
                telemetry::broker_did_not_answer(&error);
                0
            }
        }
    });
    let left = join_all(installs).await.into_iter().max().unwrap_or(0);
    sleep(Duration::from_millis(left).saturating_sub(OWN_RULES_LEAD)).await;
}
