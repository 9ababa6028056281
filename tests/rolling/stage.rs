//! The system under test: Redis, the nodes, HAProxy, the clients and the publishers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::log::{Channel, PublisherLog};
use testkit::publisher::{Pace, Publish, Publisher};
use testkit::redis::Redis;
use testkit::service::{RedisAddress, Service};
use testkit::wait_until;
use tokio::sync::watch;

use crate::balancer::Balancer;
use crate::clients::Clients;
use crate::fleet::Fleet;
use crate::plan::Plan;

/// The number of clients that publish to the channel that all clients have; every other channel has one.
const CLIENTS: usize = 2;

/// One channel in this many has a service that publishes to it, including the channel that all clients have.
const SERVICE_EVERY: usize = 10;

/// The longest that clients may take to receive everything after the restarts.
const CATCH_UP_MAX: Duration = Duration::from_secs(45);

pub struct Stage {
    pub fleet: Fleet,
    pub balancer: Balancer,
    pub clients: Clients,
    pub channels: Arc<[Channel]>,
    pub started: Instant,
    publishers: Vec<Publisher>,
    pace: watch::Sender<Pace>,
    redis: Redis,
}

impl Stage {
    /// Starts everything: all clients are subscribed and the publishers publish.
    pub async fn start(plan: Plan) -> Result<Self, String> {
        let redis = Redis::start().await;
        let fleet = Fleet::start(&redis, plan).await;
        let balancer = Balancer::in_front_of(&fleet.addresses).await;
        // The checker requires history of all channels, even if `HISTORY=off` configures none.
        let channel = |name| Channel { name, history: true, short_history: false, flooded: false };
        let groups = (1..=plan.length.group_channels()).map(|it| format!("room:{it}"));
        let names = std::iter::once("all".to_owned()).chain(groups);
        let channels: Arc<[Channel]> = names.map(channel).collect();
        let clients = Clients::connect(balancer.address, &channels, plan).await?;
        let (publishers, pace) = (Vec::new(), watch::Sender::new(Pace::default()));
        let started = Instant::now();
        let mut stage =
            Self { fleet, balancer, clients, channels, started, publishers, pace, redis };
        stage.add_publishers(plan);
        stage.pace.send_modify(|pace| pace.pause = Some(plan.length.pause()));
        Ok(stage)
    }

    fn add_publishers(&mut self, plan: Plan) {
        // The first clients publish to their own group channel, the next `CLIENTS` to the channel that all
        // clients have.
        let groups = self.channels.len() - 1;
        for number in 0..groups + CLIENTS {
            let channel = if number < groups { number + 1 } else { 0 };
            self.add_publisher(channel, self.clients.publisher_through(number), plan);
        }
        for channel in (0..self.channels.len()).step_by(SERVICE_EVERY) {
            let seed = plan.seed.wrapping_sub(channel as u64);
            let service = Service::new(RedisAddress::At(self.redis.address), seed);
            self.add_publisher(channel, service, plan);
        }
    }

    fn add_publisher(&mut self, channel: usize, path: impl Publish, plan: Plan) {
        let number = self.publishers.len();
        // A service must not publish with history to a channel that is configured without.
        let it = Channel { history: plan.history, ..self.channels[channel].clone() };
        let seed = plan.seed.wrapping_mul(31).wrapping_add(number as u64);
        let pace = self.pace.subscribe();
        self.publishers.push(Publisher::start(number, (channel, it), path, pace, seed));
    }

    /// Stops publishing with a last number of each publisher, and waits until every client has received it. Fails
    /// if a publisher does not end; the checker reports missing publications.
    pub async fn settle(&self) -> Result<(), String> {
        self.pace.send_modify(|pace| *pace = Pace { pause: None, requested: 1 });
        if !wait_until(CATCH_UP_MAX, || self.publishers.iter().all(|it| it.has_sent(1))).await {
            return Err("some publishers did not send their last number".to_owned());
        }
        if let Some(publisher) = self.publishers.iter().find(|it| it.last().is_none()) {
            let (channel, why) = (&self.channels[publisher.channel()].name, publisher.failure());
            return Err(format!("a publisher of {channel} gets no more acknowledgements: {why}"));
        }
        let has = |it: &Publisher| {
            it.last().is_some_and(|last| self.clients.all_received(it.channel(), it.number, last))
        };
        wait_until(CATCH_UP_MAX, || self.publishers.iter().all(has)).await;
        Ok(())
    }

    /// The logs of all publishers.
    pub fn sent(&self) -> Vec<PublisherLog> {
        self.publishers.iter().map(Publisher::sent).collect()
    }
}
