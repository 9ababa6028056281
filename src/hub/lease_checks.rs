//! Checks the leases of the runs that have subscribers on this node, so that a run whose worker is gone ends for
//! them. Every node with subscribers of a run does: the broker ends the run once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval};

use super::channel_cursor::ChannelCursor;
use super::lease_watch::RETRY;
use super::registry::Registry;
use crate::broker::{Broker, RunState, Unavailable};
use crate::critical_tasks;
use crate::publication::Channel;

/// How often the task looks for runs whose check is due.
const TICK: Duration = Duration::from_millis(200);

/// Starts the task, which runs as long as the runtime.
pub fn start(registry: Arc<Registry>, broker: Arc<dyn Broker>) {
    critical_tasks::spawn("lease watch", async move {
        let mut tick = interval(TICK);
        loop {
            tick.tick().await;
            let due = registry.channels.leases().due(Instant::now());
            let due = due.into_iter().filter(|channel| needs_check(&registry, channel));
            let due: Vec<Channel> = due.collect();
            if !due.is_empty() {
                let states = broker.check_runs(due.clone()).await;
                due.iter()
                    .zip(states)
                    .for_each(|(channel, state)| apply(&registry, channel, state));
            }
        }
    });
}

/// Whether the run may still end. If not, it is looked at again after its lease, because another may have begun.
fn needs_check(registry: &Registry, channel: &Channel) -> bool {
    let channels = &registry.channels;
    let Some(run) = channels.rules().of(channel.as_str()).run else {
        channels.leases().remove(channel);
        return false;
    };
    let has_ended = |cursor: &mut ChannelCursor| cursor.positions.run_end().is_some();
    let has_ended = channels.with_cursor(channel, |cursor, _| has_ended(cursor)).unwrap_or(false);
    if has_ended {
        channels.leases().check_in(channel, run.lease, None);
    }
    !has_ended
}

fn apply(registry: &Registry, channel: &Channel, state: Result<RunState, Unavailable>) {
    let channels = &registry.channels;
    let lease = channels.rules().of(channel.as_str()).run.map_or(RETRY, |run| run.lease);
    match state {
        Ok(RunState::None) => _ = channels.leases().check_in(channel, lease, None),
        Ok(RunState::Open(left)) => _ = channels.leases().check_in(channel, left, None),
        Ok(RunState::Ended(position)) => {
            let before = channels.leases().check_in(channel, RETRY, Some(position));
            // The end was published a while ago and has been lost on its way.
            if before == Some(position) {
                registry.catch_up_to(channel, position);
            }
        }
        Err(_) => _ = channels.leases().check_in(channel, RETRY, None),
    }
}
