//! Random clients on three nodes that are killed, frozen and stopped, and a Redis that hangs, drawn from seeds: the events alternate
//! throughout, and agree in the end with what the nodes have. `make events-chaos` runs a hundred seeds.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use testkit::backend_event::{BackendEvent, SETTING, assert_alternating, events};
use testkit::client::Client;
use testkit::eventually;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::Redis;

const RULES: &str = r#"rules=[{pattern="**",events=true,presence=true}]"#;
const NODES: usize = 3;
const CHANNELS: [&str; 5] = ["a", "b", "c", "d", "e"];
const STEPS: usize = 60;
const KILLS_MAX: usize = 3;

/// Seeds at a time.
const PARALLEL: usize = 2;

/// A client, and the number of its node.
struct StageClient {
    client: Client,
    node: usize,
}

struct Stage {
    random: StdRng,
    redis: Redis,
    settings: Vec<String>,
    /// Nodes that were killed or stopped stay in the list as None.
    nodes: Vec<Option<Node>>,
    frozen: Option<usize>,
    clients: Vec<StageClient>,
    kills: usize,
}

impl Stage {
    async fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let grace = [0, 50, 500].choose(&mut random).expect("there are some");
        let grace = format!("presence.grace={grace}ms");
        let settings =
            [SETTING, RULES, "presence.ttl=3s", "drain.delay=0s", "drain.period=0s", &grace];
        let settings = settings.map(str::to_owned).to_vec();
        let redis = Redis::start().await;
        let mut stage = Self {
            random,
            redis,
            settings,
            nodes: Vec::new(),
            frozen: None,
            clients: Vec::new(),
            kills: 0,
        };
        for _ in 0..NODES {
            stage.start_node().await;
        }
        stage
    }

    async fn start_node(&mut self) {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        self.nodes.push(Some(Node::on(&self.redis, &settings).await));
    }

    /// The numbers of the nodes that serve.
    fn serving(&self) -> Vec<usize> {
        let serves = |number: &usize| self.nodes[*number].is_some() && self.frozen != Some(*number);
        (0..self.nodes.len()).filter(serves).collect()
    }

    async fn open(&mut self) {
        let node = *self.serving().choose(&mut self.random).expect("a node serves");
        let client = Client::json(self.nodes[node].as_ref().expect("it serves")).await;
        self.clients.push(StageClient { client, node });
        let last = self.clients.len() - 1;
        for _ in 0..self.random.random_range(1..=3) {
            self.send(last, "subscribe").await;
        }
    }

    /// A command for a random channel. The client does not wait for the answer.
    async fn send(&mut self, client: usize, command: &str) {
        let channel = CHANNELS.choose(&mut self.random).expect("there are some");
        let text = json!({"type": command, "channel": channel}).to_string();
        // The node may have ended.
        let _ = self.clients[client].client.try_send(text).await;
    }

    fn any_client(&mut self) -> Option<usize> {
        (!self.clients.is_empty()).then(|| self.random.random_range(0..self.clients.len()))
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..30 => self.open().await,
            30..45 => {
                if let Some(client) = self.any_client() {
                    // Without a close handshake.
                    drop(self.clients.swap_remove(client));
                }
            }
            45..60 => {
                // Hops to another node.
                if let Some(client) = self.any_client() {
                    self.open().await;
                    drop(self.clients.swap_remove(client));
                }
            }
            60..75 => {
                if let Some(client) = self.any_client() {
                    self.send(client, "unsubscribe").await;
                }
            }
            75..88 => {
                if let Some(client) = self.any_client() {
                    self.send(client, "subscribe").await;
                }
            }
            88..93 => self.end_node().await,
            93..96 => self.freeze_node().await,
            _ => {
                self.redis.freeze();
                tokio::time::sleep(Duration::from_millis(self.random.random_range(10..300))).await;
                self.redis.thaw();
            }
        }
    }

    /// Kills a node, or stops it; another one starts.
    async fn end_node(&mut self) {
        if self.kills >= KILLS_MAX {
            return;
        }
        self.kills += 1;
        let node = *self.serving().choose(&mut self.random).expect("a node serves");
        let mut ended = self.nodes[node].take().expect("it serves");
        if self.random.random_bool(0.3) {
            ended.signal(Signal::TERM);
            ended.process.exit_code().await;
        }
        // Dropping a node kills it.
        drop(ended);
        self.clients.retain(|client| client.node != node);
        self.start_node().await;
    }

    /// Freezes a node until it counts as dead, or thaws it.
    async fn freeze_node(&mut self) {
        match self.frozen.take() {
            Some(node) => self.signal(node, Signal::CONT),
            None => {
                let node = *self.serving().choose(&mut self.random).expect("a node serves");
                self.signal(node, Signal::STOP);
                self.frozen = Some(node);
            }
        }
    }

    fn signal(&self, node: usize, signal: Signal) {
        self.nodes[node].as_ref().expect("it runs").signal(signal);
    }

    /// The channels with subscribers on any node.
    async fn subscribed(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for node in self.nodes.iter().flatten() {
            let list = node.get("/api/channels").await.json();
            let channels = list["channels"].as_array().expect("it is a list");
            let used = channels.iter().filter(|it| it["subscribers"] != json!(0));
            all.extend(used.filter_map(|it| it["channel"].as_str().map(str::to_owned)));
        }
        all
    }

    /// Waits until the occupied channels are those with subscribers.
    async fn expect_agreement(&self, when: &str) {
        eventually(&format!("the events to agree with the nodes {when}"), async || {
            let all = events(&self.redis).await;
            assert_alternating(&all);
            (occupied(&all) == self.subscribed().await).then_some(())
        })
        .await;
    }
}

/// The channels that are occupied and not vacated.
fn occupied(all: &[BackendEvent]) -> BTreeSet<String> {
    let of_channels = all.iter().filter(|it| ["occupied", "vacated"].contains(&it.field("type")));
    assert_alternating(&of_channels.cloned().collect::<Vec<_>>())
}

async fn run(seed: u64) -> usize {
    /// Names the seed of a run that fails.
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("SEED={} fails", self.0);
            }
        }
    }
    let _named = Named(seed);
    let mut stage = Stage::new(seed).await;
    for _ in 0..STEPS {
        stage.step().await;
        let pause = stage.random.random_range(0..60);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    if let Some(node) = stage.frozen.take() {
        stage.signal(node, Signal::CONT);
    }
    stage.expect_agreement("with clients").await;
    stage.clients.clear();
    stage.expect_agreement("without clients").await;
    let all = eventually("all members and sessions to end", async || {
        let all = events(&stage.redis).await;
        assert_alternating(&all).is_empty().then_some(all)
    })
    .await;
    all.len()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn occupied_and_vacated_alternate_in_seeded_runs_with_node_kills() {
    let (first, count) = (setting("SEED", 1), setting("SEEDS", 2));
    let runs =
        futures_util::stream::iter(first..first + count).map(async |seed| (seed, run(seed).await));
    let mut runs = std::pin::pin!(runs.buffer_unordered(PARALLEL));
    while let Some((seed, events)) = runs.next().await {
        println!("seed {seed}: {events} events, all alternate");
    }
}
