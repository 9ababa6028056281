//! The node's own publications: whether what one master takes comes back to this node.

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

/// How often the node publishes to itself.
const INTERVAL: Duration = Duration::from_secs(1);

/// A probe away for so long makes the node unready.
const AWAY_MAX: Duration = Duration::from_secs(2);

/// A probe that Redis took but that is away for so long condemns the connection. Longer than Redis
/// hangs while it forks or expires keys, since connecting again costs every channel a gap.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The node's own channel on a lane.
#[derive(Clone, Debug)]
pub struct OwnChannel {
    pub channel: Channel,
    pub confirmed: bool,
}

/// Probes one lane.
pub struct Prober<'a> {
    pub lane: &'a Lane,
    pub context: &'a RedisContext,
    pub own: watch::Receiver<OwnChannel>,
    /// The number of the last probe that came back.
    pub probed: watch::Receiver<u64>,
}

impl Prober<'_> {
    /// Publishes again and again, the way everybody publishes. Returns when what Redis has taken no
    /// longer comes back.
    pub async fn run(mut self) -> FeedLost {
        let mut seen = Instant::now();
        for number in 1.. {
            let sent = Instant::now();
            if !self.context.map.has_slots(self.lane) {
                // It is about to be given some, or given up.
                seen = sent;
                self.lane.state.works(LaneComponent::Probe);
                sleep(INTERVAL).await;
                continue;
            }
            let confirmed = self.own.wait_for(|own| own.confirmed);
            // Where Redis does not confirm it, the publication tells what Redis is up to.
            let _ = timeout(AWAY_MAX, confirmed).await;
            let channel = self.own.borrow_and_update().channel.clone();
            if self.publish(channel, number).await.is_err() {
                // Redis did not take it: that is for the publisher to mend.
                seen = Instant::now();
                self.lane.state.fails(LaneComponent::Probe, &"");
            } else if self.comes_back(number).await {
                seen = Instant::now();
                telemetry::broker_probed(sent.elapsed());
                self.lane.state.works(LaneComponent::Probe);
            } else if self.own.has_changed().unwrap_or(false) {
                seen = Instant::now();
            } else {
                let why = "it took a publication and did not bring it back";
                self.lane.state.fails(LaneComponent::Probe, &why);
            }
            if seen.elapsed() >= SILENCE_MAX {
                return FeedLost::Silent;
            }
            sleep(INTERVAL.saturating_sub(sent.elapsed())).await;
        }
        FeedLost::Silent
    }

    async fn publish(&self, channel: Channel, number: u64) -> Result<(), Unavailable> {
        let slot = self.context.map.slot(&channel);
        let payload = Publication::bare(Bytes::from(number.to_string()));
        let (item, receipt) = self.context.intake.admit(channel, payload)?;
        self.lane.line.push(QueuedPublication::new(slot, item))?;
        match timeout(AWAY_MAX, receipt).await {
            Ok(answer) => answer.map(|_| ()),
            Err(_) => Err(Unavailable("redis did not take the probe in time")),
        }
    }

    async fn comes_back(&mut self, number: u64) -> bool {
        timeout(AWAY_MAX, self.probed.wait_for(|it| *it >= number)).await.is_ok()
    }
}

/// The number in a probe's payload.
pub fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
