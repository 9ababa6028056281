//! Publications flow while everybody drops and comes back: each client's log is the history, no
//! publication missing, none twice, all in their order.

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
    many_who_are_away_for_a_moment_miss_nothing,
    some_who_are_away_for_long_miss_nothing,
);

for_broker!(sentinel, Sentinel, many_who_are_away_for_a_moment_miss_nothing);

const CHANNEL: &str = "h:1";

pub struct Play {
    pub clients: usize,
    pub publishers: usize,
    pub publications_per_publisher: u64,
    /// Most publications a client hears before it drops, and most that it lets pass.
    pub heard_max: u64,
    pub missed_max: u64,
}

async fn many_who_are_away_for_a_moment_miss_nothing(broker: Broker) {
    let play = Play {
        clients: 200,
        publishers: 4,
        publications_per_publisher: 150,
        heard_max: 60,
        missed_max: 20,
    };
    play.runs(broker, publish_past_history).await;
}

async fn some_who_are_away_for_long_miss_nothing(broker: Broker) {
    let play = Play {
        clients: 20,
        publishers: 4,
        publications_per_publisher: 1000,
        heard_max: 300,
        // Several pages of the history.
        missed_max: 600,
    };
    play.runs(broker, publish_past_history).await;
}

/// What one client heard: payloads by their positions, and those without one.
#[derive(Default)]
struct Log {
    publications: Vec<(Position, String)>,
    plain: Vec<String>,
    resumes: u64,
}

impl Play {
    /// `meanwhile` is told the furthest position that is answered, and the last one.
    pub async fn runs(
        &self,
        broker: Broker,
        meanwhile: impl AsyncFnOnce(&Fleet, &watch::Receiver<Position>, Position),
    ) {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let fleet = Arc::new(broker.fleet(&[LONG]).await);
        let before = subscribe(&mut Client::json(fleet.nodes()[0]).await, CHANNEL).await;
        let last = before.plus(self.publishers as u64 * self.publications_per_publisher);
        // The furthest position that is answered.
        let (progress, reached) = watch::channel(before);

        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let listener = Listener {
                fleet: fleet.clone(),
                random: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
                reached: reached.clone(),
                heard_max: self.heard_max,
                missed_max: self.missed_max,
            };
            clients.spawn(listener.listen(before, last));
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
            let log = log.expect("every client hears all");
            log.assert_is_history(before, &published, seed);
            resumes += log.resumes;
        }
        assert!(resumes >= self.clients as u64, "{resumes} resumes test little");
        let lost = r#"tidegate_history_resumes_total{outcome="lost"}"#;
        assert_eq!(fleet.metric(lost).await, 0.);
    }
}

impl Log {
    fn assert_is_history(
        &self,
        before: Position,
        published: &HashMap<Position, String>,
        seed: u64,
    ) {
        let mut due = before;
        for (position, payload) in &self.publications {
            due = due.plus(1);
            assert_eq!(*position, due, "seed {seed}");
            assert_eq!(payload, &published[position], "seed {seed}");
        }
        assert_eq!(self.publications.len(), published.len());
        let mut plain = self.plain.clone();
        plain.sort();
        plain.dedup();
        assert_eq!(plain.len(), self.plain.len(), "seed {seed}: twice one without a position");
    }
}

/// Publishes as fast as it is answered; what stands where.
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

/// A service that knows nothing of histories, as long as publications flow.
async fn publish_past_history(fleet: &Fleet, reached: &watch::Receiver<Position>, last: Position) {
    let mut number = 0;
    while *reached.borrow() < last {
        if !fleet.publish_on_redis(CHANNEL, &format!("plain {number}")).await {
            return;
        }
        number += 1;
    }
    assert!(number > 10, "{number} test little");
}

struct Listener {
    fleet: Arc<Fleet>,
    random: StdRng,
    reached: watch::Receiver<Position>,
    heard_max: u64,
    missed_max: u64,
}

impl Listener {
    /// Comes and goes until it has heard the last one.
    async fn listen(mut self, mut at: Position, last: Position) -> Log {
        let mut log = Log::default();
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
            let patience = self.random.random_range(0..=self.heard_max);
            at = hear(&mut client, at.plus(patience).min(last), at, &mut log).await;
            if self.random.random_bool(0.5) {
                client.close().await;
            } else {
                drop(client);
            }
            let missed = at.plus(self.random.random_range(0..=self.missed_max)).min(last);
            let passes = self.reached.wait_for(|reached| *reached >= missed);
            soon("publications to pass", passes).await.expect("the publishers are there");
        }
        log
    }
}

/// Hears until it has heard the one at `until`, or is cut off; the last one it heard.
async fn hear(client: &mut Client, until: Position, mut at: Position, log: &mut Log) -> Position {
    while at < until {
        // Who is too slow is cut off, and resumes.
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
