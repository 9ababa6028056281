//! Follows the topology for as long as the node runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::layout::Layout;
use super::source::TopologySource;
use crate::broker::redis::connection::reconnecting::PAUSE;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::slot_queues::SlotQueues;
use crate::broker::redis::tasks;
use crate::telemetry;

/// Minimum pause between two queries, however many lanes request a refresh.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

/// How often expired publications and subscriptions are looked for while no master is known.
const TICK: Duration = Duration::from_millis(100);

/// Queries without end. The known layout stays in use while no server answers.
pub async fn watch<S: TopologySource>(context: Arc<RedisContext>, mut source: S) {
    let mut backoff = PAUSE;
    let mut known = Layout::default();
    loop {
        let pause = match source.query(&context).await {
            Ok(layout) => {
                backoff.reset();
                if layout != known {
                    if layout.moving != known.moving {
                        telemetry::slots_move(layout.moving.len());
                    }
                    let _layout = context.layout_lock.write().await;
                    follow(&context, &layout);
                    known = layout;
                }
                match known.moving.is_empty() {
                    true => context.state.moves_work(),
                    false => context.state.moves_age(),
                }
                S::INTERVAL
            }
            Err(why) => {
                if known.masters.is_empty() {
                    context.state.masters_unknown(&why);
                }
                backoff.next_pause()
            }
        };
        sleep(REFRESH_PAUSE).await;
        tokio::select! {
            () = context.topology_refresh.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Applies a layout to the lane map: starts and retires lanes.
pub fn follow(context: &Arc<RedisContext>, layout: &Layout) {
    let applied = context.map.apply(layout, |address| context.lane(address));
    applied.new.iter().for_each(|lane| tasks::start(lane, context));
    applied.retired.iter().for_each(|lane| lane.retire());
    // From now on publications without a master wait for one that Redis is about to report.
    context.map.unowned.publications.set_stuck(None);
    match layout.owners.iter().filter(|owner| owner.is_none()).count() {
        0 => context.state.masters_known(),
        slots => context.state.masters_unknown(&format_args!("{slots} slots have no master")),
    }
}

/// Fails what has waited too long for a master.
pub async fn expire(context: Arc<RedisContext>) {
    let SlotQueues { publications, subscriptions } = &*context.map.unowned;
    let channels = async {
        loop {
            sleep(TICK).await;
            subscriptions.expire();
            // Channels that lost their last subscriber before a master was known are forgotten.
            subscriptions.next_to_unsubscribe();
        }
    };
    tokio::select! {
        never = publications.expire() => match never {},
        () = channels => {}
    }
}
