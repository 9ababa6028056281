//! The clients, all connected through the load balancer.

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
use crate::counters::ClientCounters;
use crate::plan::Plan;
use crate::publish_request::{PublishRequest, RequestSender};

/// The number of clients that connect at the same time at the start.
const BATCH: usize = 50;

/// The longest that a batch may take to be subscribed.
const BATCH_TIME_MAX: Duration = Duration::from_secs(20);

pub struct Clients {
    clients: Vec<ConnectedClient>,
    pub counters: Arc<ClientCounters>,
}

struct ConnectedClient {
    channels: [ChannelNumber; 2],
    record: Arc<Mutex<Recorder>>,
    requests: mpsc::Sender<PublishRequest>,
    task: JoinHandle<()>,
}

impl Clients {
    /// Connects all clients and subscribes each to the first channel and one other. Fails if some are not
    /// subscribed in time.
    pub async fn connect(
        address: SocketAddr,
        channels: &Arc<[Channel]>,
        plan: Plan,
    ) -> Result<Self, String> {
        let mut all = Self { clients: Vec::new(), counters: Arc::default() };
        let groups = channels.len() - 1;
        while all.clients.len() < plan.length.clients() {
            let number = all.clients.len();
            let assigned = [0, 1 + number % groups];
            let record = Arc::new(Mutex::new(Recorder::new(format!("client {number}"))));
            let (requests, receiver) = mpsc::channel(1);
            let client = Client {
                address,
                positions: assigned.iter().map(|channel| (*channel, None)).collect(),
                all: channels.clone(),
                publisher: ClientPublisher::new(receiver),
                random: StdRng::seed_from_u64(plan.seed.wrapping_add(number as u64)),
                record: record.clone(),
                counters: all.counters.clone(),
                reconnect_at: None,
            };
            let task = tokio::spawn(client.run());
            all.clients.push(ConnectedClient { channels: assigned, record, requests, task });
            if (number + 1).is_multiple_of(BATCH)
                && !all.wait_until_subscribed(BATCH_TIME_MAX).await
            {
                return Err(format!(
                    "some of the first {} clients did not subscribe in time",
                    number + 1
                ));
            }
        }
        Ok(all)
    }

    /// Publishes on the connection of one client, by number.
    pub fn publisher_through(&self, client: usize) -> RequestSender {
        RequestSender(self.clients[client].requests.clone())
    }

    /// Waits until every client is subscribed to all its channels; false after `time`.
    pub async fn wait_until_subscribed(&self, time: Duration) -> bool {
        wait_until(time, || self.clients.iter().all(|it| it.record().is_subscribed(&it.channels)))
            .await
    }

    /// Whether every client of the channel received this number of the publisher.
    pub fn all_received(
        &self,
        channel: ChannelNumber,
        publisher: PublisherNumber,
        number: u64,
    ) -> bool {
        let mut of_channel = self.clients.iter().filter(|it| it.channels.contains(&channel));
        of_channel.all(|it| it.record().has_received(channel, publisher, number))
    }

    /// Takes the logs of all clients; a second call returns empty logs.
    pub fn take_logs(&self) -> Vec<SubscriberLog> {
        self.clients.iter().map(|it| std::mem::take(&mut it.record().seen)).collect()
    }
}

impl ConnectedClient {
    fn record(&self) -> MutexGuard<'_, Recorder> {
        self.record.lock().expect("no panic while the lock is held")
    }
}

impl Drop for ConnectedClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}
