//! What operations strike: Redis, and nodes with a configuration file each.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use testkit::audit::channels::{self, AuditChannel, settings};
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::{Redis, query};
use tokio::time::{Instant, sleep_until, timeout};

use crate::doors::{Door, Doors};
use crate::plan::{Broker, Fault, Plan};

/// The longest wait for an answer of a Redis that may hang.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(300);

pub struct Stage {
    pub doors: Doors,
    pub redis: Option<Redis>,
    channels: Vec<AuditChannel>,
    places: Vec<Place>,
    directory: TempDir,
    /// Of nodes that were replaced.
    past: Vec<(usize, Vec<String>)>,
}

struct Place {
    node: Node,
    file: PathBuf,
    runs: bool,
}

/// One step of a fault. A fault that lasts has two.
#[derive(Clone, Copy, Debug)]
enum Step {
    StopNode(usize),
    GoOnNode(usize),
    KillNode(usize),
    StartNode(usize),
    Reload { node: usize, variant: usize },
    StopRedis,
    GoOnRedis,
    KillRedis,
    StartRedis,
    Once(Fault),
}

impl Stage {
    pub async fn set(plan: &Plan) -> Self {
        let redis = match plan.broker {
            Broker::Memory => None,
            Broker::Redis => Some(Redis::start().await),
            Broker::DurableRedis => {
                let mut redis = Redis::stopped_with(&["--appendonly", "yes"]);
                redis.run().await;
                Some(redis)
            }
        };
        let mut stage = Self {
            doors: Doors::default(),
            redis,
            channels: channels::all(),
            places: Vec::new(),
            directory: tempfile::tempdir().expect("a temporary directory"),
            past: Vec::new(),
        };
        for number in 0..plan.nodes {
            let file = stage.directory.path().join(format!("node-{number}.toml"));
            fs::write(&file, settings(0)).expect("the file is written");
            let node = stage.start(&file).await;
            stage.doors.set(number, door(&node));
            stage.places.push(Place { node, file, runs: true });
        }
        for place in &stage.places {
            place.node.wait_until_ready().await;
        }
        stage
    }

    async fn start(&self, file: &std::path::Path) -> Node {
        let url = self.redis.as_ref().map_or("memory:".to_owned(), Redis::url);
        Node::with_config_file(file, &[&format!("broker.url={url}")]).await
    }

    pub fn redis_url(&self) -> Option<String> {
        self.redis.as_ref().map(Redis::url)
    }

    /// Plays all faults, and heals what is left of them.
    pub async fn suffer(&mut self, plan: &Plan) {
        let begun = Instant::now();
        let mut steps: Vec<(Duration, Step)> =
            plan.faults().flat_map(|(at, fault)| steps(at, fault, plan.nodes)).collect();
        steps.sort_by_key(|(at, _)| *at);
        for (at, step) in steps.into_iter().filter(|(at, _)| *at < plan.time) {
            sleep_until(begun + at).await;
            self.take(step).await;
        }
        sleep_until(begun + plan.time).await;
        self.heal().await;
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::StopNode(number) => self.signal(number, Signal::STOP),
            Step::GoOnNode(number) => self.signal(number, Signal::CONT),
            Step::KillNode(number) => {
                self.places[number].node.process.kill();
                self.places[number].runs = false;
            }
            Step::StartNode(number) => self.restart(number).await,
            Step::Reload { node, variant } => {
                // Renamed, so that no node reads half a file.
                let file = &self.places[node].file;
                let new = file.with_extension("new");
                fs::write(&new, settings(variant)).expect("the file is written");
                fs::rename(&new, file).expect("the file is renamed");
                self.signal(node, Signal::HUP);
            }
            Step::StopRedis => {
                if let Some(redis) = self.redis.as_ref().filter(|it| it.is_responsive()) {
                    redis.freeze();
                }
            }
            Step::GoOnRedis => {
                if let Some(redis) = self.redis.as_ref().filter(|it| it.is_running()) {
                    redis.thaw();
                }
            }
            Step::KillRedis => {
                if let Some(redis) = &mut self.redis {
                    redis.kill();
                }
            }
            Step::StartRedis => self.start_redis().await,
            Step::Once(fault) => self.once(fault).await,
        }
    }

    fn signal(&self, number: usize, signal: Signal) {
        let place = &self.places[number];
        if place.runs {
            place.node.signal(signal);
        }
    }

    async fn restart(&mut self, number: usize) {
        if self.places[number].runs {
            return;
        }
        let node = self.start(&self.places[number].file).await;
        self.doors.set(number, door(&node));
        let place = &mut self.places[number];
        let old = std::mem::replace(&mut place.node, node);
        place.runs = true;
        self.past.push((number, old.process.stderr()));
    }

    async fn start_redis(&mut self) {
        if let Some(redis) = self.redis.as_mut().filter(|it| !it.is_running()) {
            redis.run().await;
        }
    }

    async fn once(&self, fault: Fault) {
        let key = |channel: usize| format!("tidegate:{}", self.channels[channel].name);
        let words = match fault {
            Fault::RedisPauses(time) => {
                vec!["CLIENT".to_owned(), "PAUSE".to_owned(), time.as_millis().to_string()]
            }
            Fault::SubscribersAreCut => {
                ["CLIENT", "KILL", "TYPE", "pubsub"].map(str::to_owned).to_vec()
            }
            Fault::PublishersAreCut => {
                ["CLIENT", "KILL", "TYPE", "normal"].map(str::to_owned).to_vec()
            }
            Fault::StreamIsDeleted(channel) => vec!["DEL".to_owned(), key(channel)],
            Fault::StreamIsTrimmed(channel) => {
                let trim = ["MAXLEN", "3"].map(str::to_owned);
                [vec!["XTRIM".to_owned(), key(channel)], trim.to_vec()].concat()
            }
            _ => return,
        };
        let Some(redis) = self.redis.as_ref().filter(|it| it.is_responsive()) else { return };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // A Redis that is paused may take it later, or never: the operation is lost then.
        let _ = timeout(ANSWER_TIME_MAX, query::<redis::Value>(redis.address, &words)).await;
    }

    async fn heal(&mut self) {
        self.take(Step::GoOnRedis).await;
        self.start_redis().await;
        for number in 0..self.places.len() {
            self.take(Step::GoOnNode(number)).await;
            self.restart(number).await;
        }
    }

    /// What all nodes logged, those that ended too.
    pub fn logs(&self) -> Vec<(usize, Vec<String>)> {
        let places = self.places.iter().enumerate();
        let now = places.map(|(number, place)| (number, place.node.process.stderr()));
        self.past.iter().cloned().chain(now).collect()
    }

    /// What a node logged of a panic, or that it ended by itself.
    pub fn broken_node(&mut self) -> Option<String> {
        let mut lines = self.logs().into_iter().flat_map(|(_, lines)| lines);
        let panic = lines.find(|line| line.contains("panicked"));
        let ended = self.places.iter_mut().filter(|place| place.runs);
        let ended: Vec<_> = ended.filter_map(|place| place.node.process.exit_status()).collect();
        panic.or_else(|| Some(format!("a node ended: {}", ended.first()?)))
    }
}

fn door(node: &Node) -> Door {
    Door { public: node.public, internal: node.internal }
}

fn steps(at: Duration, fault: Fault, nodes: usize) -> Vec<(Duration, Step)> {
    match fault {
        Fault::NodeStops { node, time } => {
            vec![(at, Step::StopNode(node)), (at + time, Step::GoOnNode(node))]
        }
        Fault::NodeIsKilled { node, away } => {
            vec![(at, Step::KillNode(node)), (at + away, Step::StartNode(node))]
        }
        Fault::Reload { variant, pause } => {
            let step = |node: usize| (at + pause * node as u32, Step::Reload { node, variant });
            (0..nodes).map(step).collect()
        }
        Fault::RedisStops(time) => vec![(at, Step::StopRedis), (at + time, Step::GoOnRedis)],
        Fault::RedisIsKilled(away) => vec![(at, Step::KillRedis), (at + away, Step::StartRedis)],
        once => vec![(at, Step::Once(once))],
    }
}
