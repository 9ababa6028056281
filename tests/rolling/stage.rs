//! All that takes part: Redis, the nodes, HAProxy, the crowd and who publishes to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::log::{Channel, PublisherLog};
use testkit::publisher::{Pace, Publish, Publisher};
use testkit::redis::Redis;
use testkit::service::{RedisAddress, Service};
use testkit::wait_until;
use tokio::sync::watch;

use crate::balancer::Balancer;
use crate::crowd::Crowd;
use crate::fleet::Fleet;
use crate::plan::Plan;

/// Clients that publish to the channel that all have; of every other channel there is one.
const CLIENTS: usize = 2;

/// One channel in so many has a service that publishes to it, the one that all have among them.
const SERVICE_EVERY: usize = 10;

/// The longest that all may take to have everything, once all is well.
const CATCH_UP_MAX: Duration = Duration::from_secs(45);

pub struct Stage {
    pub fleet: Fleet,
    pub balancer: Balancer,
    pub crowd: Crowd,
    pub channels: Arc<[Channel]>,
    pub started: Instant,
    publishers: Vec<Publisher>,
    pace: watch::Sender<Pace>,
    redis: Redis,
}

impl Stage {
    /// Everybody is there, and publications flow.
    pub async fn start(plan: Plan) -> Result<Self, String> {
        let redis = Redis::start().await;
        let fleet = Fleet::start(&redis, plan).await;
        let balancer = Balancer::in_front_of(&fleet.addresses).await;
        // What the checker holds them to, also where they were not configured so.
        let channel = |name| Channel { name, history: true, short_history: false, flooded: false };
        let rooms = (1..=plan.length.rooms()).map(|it| format!("room:{it}"));
        let names = std::iter::once("all".to_owned()).chain(rooms);
        let channels: Arc<[Channel]> = names.map(channel).collect();
        let crowd = Crowd::connect(balancer.front, &channels, plan).await?;
        let (publishers, pace) = (Vec::new(), watch::Sender::new(Pace::default()));
        let begun = Instant::now();
        let mut stage =
            Self { fleet, balancer, crowd, channels, started: begun, publishers, pace, redis };
        stage.add_publishers(plan);
        stage.pace.send_modify(|pace| pace.pause = Some(plan.length.pause()));
        Ok(stage)
    }

    fn add_publishers(&mut self, plan: Plan) {
        // The channel that all have is published to by clients of the first rooms beyond those that
        // publish to their own.
        let rooms = self.channels.len() - 1;
        for number in 0..rooms + CLIENTS {
            let channel = if number < rooms { number + 1 } else { 0 };
            self.add(channel, self.crowd.publisher_through(number), plan);
        }
        for channel in (0..self.channels.len()).step_by(SERVICE_EVERY) {
            let seed = plan.seed.wrapping_sub(channel as u64);
            let service = Service::new(RedisAddress::At(self.redis.address), seed);
            self.add(channel, service, plan);
        }
    }

    fn add(&mut self, channel: usize, way: impl Publish, plan: Plan) {
        let number = self.publishers.len();
        // A service cannot publish into a history that there is not.
        let it = Channel { history: plan.history, ..self.channels[channel].clone() };
        let seed = plan.seed.wrapping_mul(31).wrapping_add(number as u64);
        let pace = self.pace.subscribe();
        self.publishers.push(Publisher::start(number, (channel, it), way, pace, seed));
    }

    /// Ends the flow with a last number of each publisher, and waits for everybody to have it. Fails where
    /// a publisher does not end; what a client lacks is for the checker to name.
    pub async fn settle(&self) -> Result<(), String> {
        self.pace.send_modify(|pace| *pace = Pace { pause: None, requested: 1 });
        if !wait_until(CATCH_UP_MAX, || self.publishers.iter().all(|it| it.has_sent(1))).await {
            return Err("some publishers did not end".to_owned());
        }
        if let Some(silenced) = self.publishers.iter().find(|it| it.last().is_none()) {
            let (channel, why) = (&self.channels[silenced.channel()].name, silenced.failure());
            return Err(format!("a publisher of {channel} is not acknowledged any more: {why}"));
        }
        let has = |it: &Publisher| {
            it.last().is_some_and(|last| self.crowd.all_received(it.channel(), it.number, last))
        };
        wait_until(CATCH_UP_MAX, || self.publishers.iter().all(has)).await;
        Ok(())
    }

    /// By publisher.
    pub fn sent(&self) -> Vec<PublisherLog> {
        self.publishers.iter().map(Publisher::sent).collect()
    }
}
