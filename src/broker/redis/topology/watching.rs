//! Follows the masters for as long as the node runs.

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

/// The least pause between two looks, however many lanes doubt what is known.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked for those who have waited too long while no master is known.
const TICK: Duration = Duration::from_millis(100);

/// Looks for ever; what is known stays in use while nobody answers.
pub async fn watch<S: TopologySource>(context: Arc<RedisContext>, mut source: S) {
    let mut backoff = PAUSE;
    let mut known = Layout::default();
    loop {
        let pause = match source.look(&context).await {
            Ok(layout) => {
                backoff.reset();
                if layout != known {
                    if layout.moving != known.moving {
                        telemetry::slots_move(layout.moving.len());
                    }
                    let _still = context.detours.write().await;
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
        sleep(LOOK_PAUSE).await;
        tokio::select! {
            () = context.doubt.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Lets the map follow: lanes are begun and retired.
pub fn follow(context: &Arc<RedisContext>, layout: &Layout) {
    let applied = context.map.apply(layout, |address| context.lane(address));
    applied.new.iter().for_each(|lane| tasks::start(lane, context));
    applied.retired.iter().for_each(|lane| lane.retire());
    // From now on what waits for a master waits for one that Redis is about to name.
    context.map.nowhere.line.set_stuck(None);
    match layout.owners.iter().filter(|owner| owner.is_none()).count() {
        0 => context.state.masters_known(),
        slots => context.state.masters_unknown(&format_args!("{slots} slots have none")),
    }
}

/// Answers what waits too long for a master to be known.
pub async fn expire(context: Arc<RedisContext>) {
    let SlotQueues { line, wanted } = &*context.map.nowhere;
    let channels = async {
        loop {
            sleep(TICK).await;
            wanted.expire();
            // What is left before it could be asked for is forgotten.
            wanted.next_to_unsubscribe();
        }
    };
    tokio::select! {
        never = line.expire() => match never {},
        () = channels => {}
    }
}
