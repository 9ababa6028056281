//! Clients disconnect and resume at random while publications flow: each client's log must equal the history, with no
//! publication missing, duplicated or out of order.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, Fleet, for_broker, for_every_broker};
use testkit::soon;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{LONG, Position, subscribe};

for_every_broker!(
    two_hundred_clients_that_resume_after_short_absences_miss_no_publication,
    twenty_clients_that_resume_after_long_absences_miss_no_publication,
);

for_broker!(
    sentinel,
    Sentinel,
    two_hundred_clients_that_resume_after_short_absences_miss_no_publication
);

const CHANNEL: &str = "h:1";

pub struct Scenario {
    pub clients: usize,
    pub publishers: usize,
    pub publications_per_publisher: u64,
    /// The most publications that a client receives before it disconnects, and the most that it then misses.
    pub received_max: u64,
    pub missed_max: u64,
}

async fn two_hundred_clients_that_resume_after_short_absences_miss_no_publication(broker: Broker) {
    let scenario = Scenario {
        clients: 200,
        publishers: 4,
        publications_per_publisher: 150,
        received_max: 60,
        missed_max: 20,
    };
    scenario.run(broker, publish_past_history).await;
}

async fn twenty_clients_that_resume_after_long_absences_miss_no_publication(broker: Broker) {
    let scenario = Scenario {
        clients: 20,
        publishers: 4,
        publications_per_publisher: 1000,
        received_max: 300,
        // Several pages of the history.
        missed_max: 600,
    };
    scenario.run(broker, publish_past_history).await;
}

/// The payloads that one client received: those with a position, and those without.
#[derive(Default)]
struct ReceivedLog {
    publications: Vec<(Position, String)>,
    plain: Vec<String>,
    resumes: u64,
}

impl Scenario {
    /// `meanwhile` receives the highest acknowledged position and the final one.
    pub async fn run(
        &self,
        broker: Broker,
        meanwhile: impl AsyncFnOnce(&Fleet, &watch::Receiver<Position>, Position),
    ) {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let fleet = Arc::new(broker.fleet(&[LONG]).await);
        let before = subscribe(&mut Client::json(fleet.nodes()[0]).await, CHANNEL).await;
        let last = before.plus(self.publishers as u64 * self.publications_per_publisher);
        // The highest acknowledged position.
        let (progress, reached) = watch::channel(before);

        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let subscriber = ResumingSubscriber {
                fleet: fleet.clone(),
                random: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
                reached: reached.clone(),
                received_max: self.received_max,
                missed_max: self.missed_max,
            };
            clients.spawn(subscriber.receive_until(before, last));
        }
        let mut publishers = JoinSet::new();
        for name in 0..self.publishers {
            let client = Client::json(fleet.nodes()[name % 2]).await;
            let count = self.publications_per_publisher;
            publishers.spawn(publish(client, name, count, progress.clone()));
        }
        meanwhile(&fleet, &reached, last).await;
        let mut published = HashMap::new();
        while let Some(answered) = publishers.join_next().await {
            published.extend(answered.expect("every publication is answered"));
        }
        let mut resumes = 0;
        while let Some(log) = clients.join_next().await {
            let log = log.expect("every client receives all publications");
            log.assert_is_history(before, &published, seed);
            resumes += log.resumes;
        }
        assert!(resumes >= self.clients as u64, "only {resumes} resumes");
        let lost = r#"tidegate_history_resumes_total{outcome="lost"}"#;
        assert_eq!(fleet.metric(lost).await, 0.);
    }
}

impl ReceivedLog {
    fn assert_is_history(
        &self,
        before: Position,
        published: &HashMap<Position, String>,
        seed: u64,
    ) {
        let mut expected = before;
        for (position, payload) in &self.publications {
            expected = expected.plus(1);
            assert_eq!(*position, expected, "seed {seed}");
            assert_eq!(payload, &published[position], "seed {seed}");
        }
        assert_eq!(self.publications.len(), published.len());
        let mut plain = self.plain.clone();
        plain.sort();
        plain.dedup();
        assert_eq!(
            plain.len(),
            self.plain.len(),
            "seed {seed}: a publication without position arrived twice"
        );
    }
}

/// Publishes `count` texts, one after the other, and returns them with their positions.
async fn publish(
    mut client: Client,
    name: usize,
    count: u64,
    progress: watch::Sender<Position>,
) -> Vec<(Position, String)> {
    let mut published = Vec::new();
    for number in 0..count {
        let text = format!("{name} {number}");
        let command = json!({"type": "publish", "id": 1, "channel": CHANNEL, "text": text});
        let position = Position::of(&client.request(command).await);
        progress.send_if_modified(|reached| {
            let is_further = position > *reached;
            *reached = position.max(*reached);
            is_further
        });
        published.push((position, text));
    }
    published
}

/// Publishes with plain `PUBLISH`, past the history, until the last publication is acknowledged.
async fn publish_past_history(fleet: &Fleet, reached: &watch::Receiver<Position>, last: Position) {
    let mut number = 0;
    while *reached.borrow() < last {
        if !fleet.publish_on_redis(CHANNEL, &format!("plain {number}")).await {
            return;
        }
        number += 1;
    }
    assert!(number > 10, "only {number} publications past the history");
}

struct ResumingSubscriber {
    fleet: Arc<Fleet>,
    random: StdRng,
    reached: watch::Receiver<Position>,
    received_max: u64,
    missed_max: u64,
}

impl ResumingSubscriber {
    /// Disconnects and resumes until it has received the last publication.
    async fn receive_until(mut self, mut at: Position, last: Position) -> ReceivedLog {
        let mut log = ReceivedLog::default();
        while at < last {
            let node = self.fleet.nodes()[self.random.random_range(0..2)];
            let mut client = Client::json(node).await;
            let since = at.to_string();
            let command = json!({"type": "subscribe", "id": 1, "channel": CHANNEL, "since": since});
            client.send_command(command).await;
            let subscribed = client.event().await;
            if subscribed["code"] == "unavailable" {
                continue;
            }
            assert_eq!(
                (&subscribed["type"], &subscribed["recovered"]),
                (&json!("subscribed"), &json!(true)),
                "since {at}: {subscribed}"
            );
            log.resumes += 1;
            let count = self.random.random_range(0..=self.received_max);
            at = receive(&mut client, at.plus(count).min(last), at, &mut log).await;
            if self.random.random_bool(0.5) {
                client.close().await;
            } else {
                drop(client);
            }
            let missed = at.plus(self.random.random_range(0..=self.missed_max)).min(last);
            let passes = self.reached.wait_for(|reached| *reached >= missed);
            soon("publications to pass", passes).await.expect("the publishers still run");
        }
        log
    }
}

/// Receives until the publication at `until` or the end of the connection; returns the last position received.
async fn receive(
    client: &mut Client,
    until: Position,
    mut at: Position,
    log: &mut ReceivedLog,
) -> Position {
    while at < until {
        // The node closes slow consumers; the client then resumes.
        let Some(event) = client.try_event().await else { break };
        assert_eq!(event["type"], "publication", "{event}");
        let text = event["text"].as_str().expect("a text").to_owned();
        if event["position"] == Value::Null {
            log.plain.push(text);
        } else {
            at = Position::of(&event);
            log.publications.push((at, text));
        }
    }
    at
}
