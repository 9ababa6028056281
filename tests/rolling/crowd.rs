//! The clients, all of them behind the balancer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use testkit::log::{Channel, ChannelNumber, PublisherNumber, SubscriberLog};
use testkit::recorder::Recorder;
use testkit::wait_until;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::client::{Client, ClientPublisher};
use crate::node_client::{NodeClient, PublishRequest};
use crate::plan::Plan;
use crate::tally::Tally;

/// Clients that come at once in the beginning.
const BATCH: usize = 50;

/// The longest that a batch may take to be subscribed.
const BATCH_TIME_MAX: Duration = Duration::from_secs(20);

pub struct Crowd {
    members: Vec<CrowdClient>,
    pub tally: Arc<Tally>,
}

struct CrowdClient {
    channels: [ChannelNumber; 2],
    record: Arc<Mutex<Recorder>>,
    orders: mpsc::Sender<PublishRequest>,
    task: JoinHandle<()>,
}

impl Crowd {
    /// All are subscribed: to the first channel and to one of the others. Fails where some are not in time.
    pub async fn connect(
        front: SocketAddr,
        channels: &Arc<[Channel]>,
        plan: Plan,
    ) -> Result<Self, String> {
        let mut crowd = Self { members: Vec::new(), tally: Arc::default() };
        let rooms = channels.len() - 1;
        while crowd.members.len() < plan.length.clients() {
            let number = crowd.members.len();
            let own = [0, 1 + number % rooms];
            let record = Arc::new(Mutex::new(Recorder::new(format!("client {number}"))));
            let (orders, taken) = mpsc::channel(1);
            let client = Client {
                front,
                positions: own.iter().map(|channel| (*channel, None)).collect(),
                all: channels.clone(),
                author: ClientPublisher::new(taken),
                random: StdRng::seed_from_u64(plan.seed.wrapping_add(number as u64)),
                record: record.clone(),
                tally: crowd.tally.clone(),
                advice: None,
            };
            let task = tokio::spawn(client.run());
            crowd.members.push(CrowdClient { channels: own, record, orders, task });
            if (number + 1).is_multiple_of(BATCH)
                && !crowd.wait_until_subscribed(BATCH_TIME_MAX).await
            {
                return Err(format!("the first {} clients do not all come in", number + 1));
            }
        }
        Ok(crowd)
    }

    /// Publishes through one of them, by number.
    pub fn publisher_through(&self, member: usize) -> NodeClient {
        NodeClient(self.members[member].orders.clone())
    }

    /// Whether all come to be subscribed to all of theirs within this time.
    pub async fn wait_until_subscribed(&self, time: Duration) -> bool {
        wait_until(time, || self.members.iter().all(|it| it.record().is_subscribed(&it.channels)))
            .await
    }

    /// Every client of the channel got this number of the publisher.
    pub fn all_received(
        &self,
        channel: ChannelNumber,
        publisher: PublisherNumber,
        number: u64,
    ) -> bool {
        let mut of_channel = self.members.iter().filter(|it| it.channels.contains(&channel));
        of_channel.all(|it| it.record().has_received(channel, publisher, number))
    }

    /// What all of them saw, once.
    pub fn seen(&self) -> Vec<SubscriberLog> {
        self.members.iter().map(|it| std::mem::take(&mut it.record().seen)).collect()
    }
}

impl CrowdClient {
    fn record(&self) -> MutexGuard<'_, Recorder> {
        self.record.lock().expect("nobody panics with the record")
    }
}

impl Drop for CrowdClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}
