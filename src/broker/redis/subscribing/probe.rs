//! The probe: checks that what one master takes comes back to this node.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::broker::redis::connection::feed::FeedLost;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::publishing::master_queue::QueuedPublication;
use crate::broker::redis::state::LaneComponent;
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, Publication};
use crate::telemetry;

/// How often the node publishes a probe.
const INTERVAL: Duration = Duration::from_secs(1);

/// A probe that takes longer makes the node unready.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// When Redis takes probes and none comes back for this long, the connection is closed. Longer than
/// Redis hangs while it forks or expires keys, because reconnecting costs every channel a gap.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The probe channel of a lane.
#[derive(Clone, Debug)]
pub struct ProbeChannel {
    pub channel: Channel,
    pub confirmed: bool,
}

/// Probes one lane.
pub struct Prober<'a> {
    pub lane: &'a Lane,
    pub context: &'a RedisContext,
    pub probe: watch::Receiver<ProbeChannel>,
    /// The number of the last probe that came back.
    pub last_probe: watch::Receiver<u64>,
}

impl Prober<'_> {
    /// Publishes probes through the same queue as all publications. Returns when Redis takes probes
    /// and no longer sends them back.
    pub async fn run(mut self) -> FeedLost {
        let mut last_seen = Instant::now();
        for number in 1.. {
            let sent = Instant::now();
            if !self.context.map.has_slots(self.lane) {
                // The lane is about to get its first slots, or to be retired.
                last_seen = sent;
                self.lane.state.works(LaneComponent::Probe);
                sleep(INTERVAL).await;
                continue;
            }
            let confirmed = self.probe.wait_for(|probe| probe.confirmed);
            // If Redis does not confirm the subscription, publishing shows the state of Redis.
            let _ = timeout(REPLY_TIMEOUT, confirmed).await;
            let channel = self.probe.borrow_and_update().channel.clone();
            if self.publish(channel, number).await.is_err() {
                // Redis did not take the probe; the publisher handles that.
                last_seen = Instant::now();
                self.lane.state.fails(LaneComponent::Probe, &"");
            } else if self.is_relayed(number).await {
                last_seen = Instant::now();
                telemetry::broker_probed(sent.elapsed());
                self.lane.state.works(LaneComponent::Probe);
            } else if self.probe.has_changed().unwrap_or(false) {
                last_seen = Instant::now();
            } else {
                let why = "it took a publication and did not relay it";
                self.lane.state.fails(LaneComponent::Probe, &why);
            }
            if last_seen.elapsed() >= SILENCE_MAX {
                return FeedLost::Silent;
            }
            sleep(INTERVAL.saturating_sub(sent.elapsed())).await;
        }
        FeedLost::Silent
    }

    async fn publish(&self, channel: Channel, number: u64) -> Result<(), Unavailable> {
        let slot = self.context.map.slot(&channel);
        let payload = Publication::bare(Bytes::from(number.to_string()));
        let (request, receipt) = self.context.intake.admit(channel, payload)?;
        self.lane.publications.push(QueuedPublication::new(slot, request))?;
        match timeout(REPLY_TIMEOUT, receipt).await {
            Ok(answer) => answer.map(|_| ()),
            Err(_) => Err(Unavailable("redis did not take the probe in time")),
        }
    }

    async fn is_relayed(&mut self, number: u64) -> bool {
        timeout(REPLY_TIMEOUT, self.last_probe.wait_for(|it| *it >= number)).await.is_ok()
    }
}

/// The number in a probe's payload.
pub fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
