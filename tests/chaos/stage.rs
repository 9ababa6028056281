//! The system under test: Redis, nodes, publishers and subscribers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use testkit::log::{Channel, ChannelNumber, PublisherLog, SubscriberLog};
use testkit::node::Node;
use testkit::publisher::{Pace, Publisher};
use testkit::service::Service;
use testkit::wait_until;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::backend::{Backend, Setup};
use crate::fleet::{self, Fleet};
use crate::flood::Flood;
use crate::node_client::NodeClient;
use crate::plan::Length;
use crate::subscriber::{SocketKind, Subscriber, seed_of};

const NODES: usize = 3;
const SUBSCRIBERS: usize = 240;
/// Subscribers of the flooded channels, with small receive buffers.
const NARROW_SUBSCRIBERS: usize = 6;
const CHANNELS_EACH: usize = 2;
/// Publishing clients of each channel, in addition to one service.
const CLIENTS_EACH: usize = 2;
/// Publications a second of all publishers together.
const RATE: usize = 250;

/// The longest that subscribers may take to be subscribed and up to date after recovery.
const CATCH_UP_MAX: Duration = Duration::from_secs(45);

/// How often a last number is sent that every subscriber must receive: a subscriber that was
/// disconnected for one receives the next.
const LAST_ROUNDS: usize = 5;

/// The longest wait for every subscriber to receive one of these numbers.
const LAST_ROUND_MAX: Duration = Duration::from_secs(8);

pub struct Stage {
    pub backend: Backend,
    pub fleet: Fleet,
    pub length: Length,
    pub subscribers: Vec<Subscriber>,
    pub channels: Arc<[Channel]>,
    pub started: Instant,
    /// The target of faults of a single node: another node each round, because a new node has no clients
    /// yet.
    pub victim: usize,
    publishers: Vec<Publisher>,
    floods: Vec<Flood>,
    pace: watch::Sender<Pace>,
    final_number: u64,
}

impl Stage {
    /// Fails with the reason if this system does not support the setup.
    pub async fn start(setup: Setup, length: Length, seed: u64) -> Result<Self, String> {
        let backend = Backend::start(setup, NODES).await?;
        let fleet = Fleet::start(NODES, &backend).await;
        let channels: Arc<[Channel]> = fleet::channels().into();
        let mut stage = Self {
            backend,
            fleet,
            length,
            subscribers: Vec::new(),
            channels,
            started: Instant::now(),
            victim: 0,
            publishers: Vec::new(),
            floods: Vec::new(),
            pace: watch::Sender::new(Pace::default()),
            final_number: 0,
        };
        stage.add_subscribers(seed);
        stage.add_publishers(seed);
        stage.wait_until_subscribed().await?;
        stage.start_publishing();
        Ok(stage)
    }

    /// The subscribers of all channels.
    fn add_subscribers(&mut self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let numbers = |flooded| -> Vec<ChannelNumber> {
            let all = self.channels.iter().enumerate();
            all.filter(|(_, it)| it.flooded == flooded).map(|(number, _)| number).collect()
        };
        let (usual, flooded) = (numbers(false), numbers(true));
        for number in 0..SUBSCRIBERS + NARROW_SUBSCRIBERS {
            let (socket_kind, channels) = match number < NARROW_SUBSCRIBERS {
                true => (SocketKind::Narrow, flooded.clone()),
                false => {
                    let chosen = usual.choose_multiple(&mut random, CHANNELS_EACH);
                    (SocketKind::Usual, chosen.copied().collect())
                }
            };
            self.subscribers.push(Subscriber::start(
                format!("subscriber {number}"),
                socket_kind,
                channels,
                self.channels.clone(),
                self.fleet.directory.clone(),
                seed_of(seed, number),
            ));
        }
    }

    /// The publishers of all channels, and a flood for the flooded channels.
    fn add_publishers(&mut self, seed: u64) {
        for (channel, it) in self.channels.iter().enumerate() {
            for index in 0..=CLIENTS_EACH {
                let number = self.publishers.len();
                let seed = seed_of(seed, 10_000 + number);
                let (channel, pace) = ((channel, it.clone()), self.pace.subscribe());
                self.publishers.push(if index < CLIENTS_EACH {
                    let client = NodeClient::new(self.fleet.directory.clone(), seed);
                    Publisher::start(number, channel, client, pace, seed)
                } else {
                    let service = Service::new(self.backend.redis_address(), seed);
                    Publisher::start(number, channel, service, pace, seed)
                });
            }
        }
        for (channel, it) in self.channels.iter().enumerate().filter(|(_, it)| it.flooded) {
            let number = self.publishers.len() + self.floods.len();
            let service =
                Service::new(self.backend.redis_address(), seed_of(seed, 10_000 + number));
            self.floods.push(Flood::new(number, channel, it.clone(), service));
        }
    }

    pub fn start_publishing(&self) {
        let pause = Duration::from_secs(1) * self.publishers.len() as u32 / RATE as u32;
        self.pace.send_modify(|pace| pace.pause = Some(pause));
    }

    /// Lets traffic run for a while.
    pub async fn run_for(&self, time: Duration) {
        sleep(time).await;
    }

    /// Sends a burst to the flooded channels, `count` publications of `bytes` each.
    pub async fn flood(&mut self, count: usize, bytes: usize) {
        for flood in &mut self.floods {
            flood.send(count, bytes).await;
        }
    }

    /// Sends a burst to the flooded channels without history.
    pub async fn flood_without_history(&mut self, count: usize, bytes: usize) {
        for flood in self.floods.iter_mut().filter(|it| !it.has_history()) {
            flood.send(count, bytes).await;
        }
    }

    /// The time from `moment` to the first acknowledgement, and until every publisher had one. Fails after a
    /// timeout.
    pub async fn acknowledged_after(
        &self,
        moment: Instant,
    ) -> Result<(Duration, Duration), String> {
        let first = |it: &Publisher| it.acknowledged_after(moment);
        if !wait_until(CATCH_UP_MAX, || self.publishers.iter().all(|it| first(it).is_some())).await
        {
            let unacknowledged = self.publishers.iter().find(|it| first(it).is_none());
            return Err(unacknowledged.map_or_else(String::new, |it| self.unacknowledged(it)));
        }
        let times = self.publishers.iter().filter_map(first).map(|it| it.duration_since(moment));
        let (earliest, latest) = (times.clone().min(), times.max());
        Ok((earliest.unwrap_or_default(), latest.unwrap_or_default()))
    }

    fn unacknowledged(&self, publisher: &Publisher) -> String {
        let (channel, why) = (&self.channels[publisher.channel()].name, publisher.failure());
        format!("publisher {} of {channel} gets no more acknowledgements: {why}", publisher.number)
    }

    /// Stops publishing and waits until every subscriber has everything. The checker reports missing
    /// publications; this fails only for publishers and subscribers that did not recover.
    pub async fn settle(&mut self) -> Result<(), String> {
        self.pace.send_modify(|pace| pace.pause = None);
        for _ in 0..LAST_ROUNDS {
            self.wait_until_subscribed().await?;
            self.final_number += 1;
            self.pace.send_modify(|pace| pace.requested = self.final_number);
            let done = || self.publishers.iter().all(|it| it.has_sent(self.final_number));
            if !wait_until(CATCH_UP_MAX, done).await {
                return Err("some publishers did not send their last number".to_owned());
            }
            if let Some(publisher) = self.publishers.iter().find(|it| it.last().is_none()) {
                return Err(self.unacknowledged(publisher));
            }
            if wait_until(LAST_ROUND_MAX, || self.all_have_everything()).await {
                break;
            }
        }
        Ok(())
    }

    async fn wait_until_subscribed(&self) -> Result<(), String> {
        match wait_until(CATCH_UP_MAX, || self.subscribers.iter().all(Subscriber::is_subscribed))
            .await
        {
            true => Ok(()),
            false => {
                let unsubscribed = self.subscribers.iter().filter(|it| !it.is_subscribed());
                let names: Vec<String> = unsubscribed.map(Subscriber::name).collect();
                Err(format!("not subscribed again: {}", names.join(", ")))
            }
        }
    }

    fn all_have_everything(&self) -> bool {
        self.publishers.iter().all(|publisher| {
            let channel = publisher.channel();
            let Some(last) = publisher.last() else { return false };
            let mut of_channel =
                self.subscribers.iter().filter(|it| it.channels.contains(&channel));
            of_channel.all(|it| it.has_received(channel, publisher.number, last))
        })
    }

    /// A node that some flooded subscriber is connected to.
    pub fn flooded_node(&self) -> usize {
        let address = self.subscribers[0].node();
        let has_address = |node: &Node| Some(node.public.to_string()) == address;
        self.fleet.nodes.iter().position(has_address).expect("a subscriber is connected")
    }

    /// The logs of all publishers.
    pub fn sent(&self) -> Vec<PublisherLog> {
        let publishers = self.publishers.iter().map(Publisher::sent);
        publishers.chain(self.floods.iter().map(Flood::sent)).collect()
    }

    /// The logs of all subscribers.
    pub fn seen(&self) -> Vec<SubscriberLog> {
        self.subscribers.iter().map(Subscriber::seen).collect()
    }
}
