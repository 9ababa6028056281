//! Brings this node's rules to the masters, and takes up what they have.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::bypassed_history::BypassedHistory;
use super::rule_changes::PendingRules;
use super::rule_list::RuleList;
use crate::broker::redis::announcement;
use crate::broker::redis::connection::pool::QuestionError;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::functions::fleet;
use crate::broker::redis::functions::library::Found;
use crate::broker::redis::lanes::lane::Lane;
use crate::publication::Publication;
use crate::telemetry;

/// How long before its new rules hold a node goes by them. By then the channels that they are about wait for
/// them (`turns.rs`).
const EARLY_OF_OWN: Duration = Duration::from_millis(100);

/// Takes up the rules that a master was found to have. `own`: the rules this node goes by anyway.
fn learn(
    context: &RedisContext,
    lane: &Lane,
    found: &Found,
    own: &RuleList,
) -> Option<PendingRules> {
    let turn = context.routing.learn(lane.number, found, own);
    if !context.routing.is_settled(lane.number) {
        context.rules_news.notify_one();
    }
    if found.is_new && !context.is_visitor {
        let news = Publication::bare(announcement::news(context.node).into());
        // Who does not hear it looks by itself. Nobody waits for it.
        drop(context.publish(announcement::channel(), news));
    }
    turn
}

/// The same, and has the hub hear of it in time.
pub fn learn_and_tell(context: &RedisContext, lane: &Lane, found: &Found) {
    // A visitor goes by none of its own.
    let own = match context.is_visitor {
        true => RuleList::default(),
        false => fleet::list_of(&context.rules),
    };
    if let Some(turn) = learn(context, lane, found, &own) {
        lane.turns.add(turn, Instant::now());
    }
}

/// Brings this node's rules to a master, or only reads those there where it has none to bring.
pub async fn install(
    context: &RedisContext,
    lane: &Lane,
    past: &BypassedHistory,
) -> Result<(), QuestionError> {
    let found = lane.install(&context.library.current(), past, context.is_visitor).await?;
    learn_and_tell(context, lane, &found);
    Ok(())
}

/// Brings this node's new rules to all masters, and waits until they are about to hold.
pub async fn bring(context: &RedisContext) {
    let library = context.library.current();
    let lanes = context.map.lanes();
    let installs = lanes.iter().map(|lane| async {
        match lane.install(&library, &BypassedHistory::default(), context.is_visitor).await {
            Ok(found) => {
                // All of them: in a moment this node's own are others. The hub looks for itself.
                learn(context, lane, &found, &RuleList::default());
                let pending = found.fleet.and_then(|fleet| fleet.rules_before(found.now));
                pending.map_or(0, |(_, left)| left)
            }
            // Who cannot be asked now is told when it is connected again.
            Err(error) => {
                telemetry::broker_did_not_answer(&error);
                0
            }
        }
    });
    let left = join_all(installs).await.into_iter().max().unwrap_or(0);
    sleep(Duration::from_millis(left).saturating_sub(EARLY_OF_OWN)).await;
}
