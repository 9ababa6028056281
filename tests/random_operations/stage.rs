//! The system under test: Redis, and nodes with a configuration file each.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use testkit::audit::channels::{self, AuditChannel, settings};
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::{Redis, query};
use tokio::time::{Instant, sleep_until, timeout};

use crate::directory::{Directory, NodeAddresses};
use crate::plan::{Broker, Fault, Plan};

/// The longest wait for a reply of a Redis that may hang.
const REPLY_TIME_MAX: Duration = Duration::from_millis(300);

pub struct Stage {
    pub directory: Directory,
    pub redis: Option<Redis>,
    channels: Vec<AuditChannel>,
    slots: Vec<NodeSlot>,
    config_directory: TempDir,
    /// The logs of replaced nodes, with the numbers of the nodes.
    replaced_logs: Vec<(usize, Vec<String>)>,
}

/// A node and its configuration file, which a new node reads after a restart.
struct NodeSlot {
    node: Node,
    file: PathBuf,
    /// False after a kill.
    running: bool,
}

/// One step of a fault. A fault with a duration has two.
#[derive(Clone, Copy, Debug)]
enum Step {
    StopNode(usize),
    ContinueNode(usize),
    KillNode(usize),
    StartNode(usize),
    Reload {
        node: usize,
        variant: usize,
    },
    StopRedis,
    ContinueRedis,
    KillRedis,
    StartRedis,
    /// A fault without a second step.
    Once(Fault),
}

impl Stage {
    pub async fn start(plan: &Plan) -> Self {
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
            directory: Directory::default(),
            redis,
            channels: channels::all(),
            slots: Vec::new(),
            config_directory: tempfile::tempdir().expect("a temporary directory"),
            replaced_logs: Vec::new(),
        };
        for number in 0..plan.nodes {
            let file = stage.config_directory.path().join(format!("node-{number}.toml"));
            fs::write(&file, settings(0)).expect("the file is written");
            let node = stage.start_node(&file).await;
            stage.directory.set(number, addresses(&node));
            stage.slots.push(NodeSlot { node, file, running: true });
        }
        for slot in &stage.slots {
            slot.node.wait_until_ready().await;
        }
        stage
    }

    async fn start_node(&self, file: &std::path::Path) -> Node {
        let url = self.redis.as_ref().map_or("memory:".to_owned(), Redis::url);
        Node::with_config_file(file, &[&format!("broker.url={url}")]).await
    }

    pub fn redis_url(&self) -> Option<String> {
        self.redis.as_ref().map(Redis::url)
    }

    /// Injects all faults, and removes those that remain at the end.
    pub async fn inject_faults(&mut self, plan: &Plan) {
        let started = Instant::now();
        let mut steps: Vec<(Duration, Step)> =
            plan.faults().flat_map(|(at, fault)| steps(at, fault, plan.nodes)).collect();
        steps.sort_by_key(|(at, _)| *at);
        for (at, step) in steps.into_iter().filter(|(at, _)| *at < plan.time) {
            sleep_until(started + at).await;
            self.apply(step).await;
        }
        sleep_until(started + plan.time).await;
        self.remove_faults().await;
    }

    async fn apply(&mut self, step: Step) {
        match step {
            Step::StopNode(number) => self.signal(number, Signal::STOP),
            Step::ContinueNode(number) => self.signal(number, Signal::CONT),
            Step::KillNode(number) => {
                self.slots[number].node.process.kill();
                self.slots[number].running = false;
            }
            Step::StartNode(number) => self.restart(number).await,
            Step::Reload { node, variant } => {
                // A rename is atomic, so no node reads half a file.
                let file = &self.slots[node].file;
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
            Step::ContinueRedis => {
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
            Step::Once(fault) => self.inject_once(fault).await,
        }
    }

    fn signal(&self, number: usize, signal: Signal) {
        let slot = &self.slots[number];
        if slot.running {
            slot.node.signal(signal);
        }
    }

    async fn restart(&mut self, number: usize) {
        if self.slots[number].running {
            return;
        }
        let node = self.start_node(&self.slots[number].file).await;
        self.directory.set(number, addresses(&node));
        let slot = &mut self.slots[number];
        let old = std::mem::replace(&mut slot.node, node);
        slot.running = true;
        self.replaced_logs.push((number, old.process.stderr()));
    }

    async fn start_redis(&mut self) {
        if let Some(redis) = self.redis.as_mut().filter(|it| !it.is_running()) {
            redis.run().await;
        }
    }

    async fn inject_once(&self, fault: Fault) {
        let key = |channel: usize| format!("tidegate:{}", self.channels[channel].name);
        let arguments = match fault {
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
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // A paused Redis may execute the command later or never; then the operation has no effect.
        let _ = timeout(REPLY_TIME_MAX, query::<redis::Value>(redis.address, &arguments)).await;
    }

    async fn remove_faults(&mut self) {
        self.apply(Step::ContinueRedis).await;
        self.start_redis().await;
        for number in 0..self.slots.len() {
            self.apply(Step::ContinueNode(number)).await;
            self.restart(number).await;
        }
    }

    /// The logs of all nodes, including replaced ones.
    pub fn logs(&self) -> Vec<(usize, Vec<String>)> {
        let slots = self.slots.iter().enumerate();
        let now = slots.map(|(number, slot)| (number, slot.node.process.stderr()));
        self.replaced_logs.iter().cloned().chain(now).collect()
    }

    /// The log line of a panic, or the exit status of a node that ended by itself.
    pub fn broken_node(&mut self) -> Option<String> {
        let mut lines = self.logs().into_iter().flat_map(|(_, lines)| lines);
        let panic = lines.find(|line| line.contains("panicked"));
        let ended = self.slots.iter_mut().filter(|slot| slot.running);
        let ended: Vec<_> = ended.filter_map(|slot| slot.node.process.exit_status()).collect();
        panic.or_else(|| Some(format!("a node ended: {}", ended.first()?)))
    }
}

fn addresses(node: &Node) -> NodeAddresses {
    NodeAddresses { public: node.public, internal: node.internal }
}

fn steps(at: Duration, fault: Fault, nodes: usize) -> Vec<(Duration, Step)> {
    match fault {
        Fault::NodeStops { node, time } => {
            vec![(at, Step::StopNode(node)), (at + time, Step::ContinueNode(node))]
        }
        Fault::NodeIsKilled { node, downtime } => {
            vec![(at, Step::KillNode(node)), (at + downtime, Step::StartNode(node))]
        }
        Fault::Reload { variant, pause } => {
            let step = |node: usize| (at + pause * node as u32, Step::Reload { node, variant });
            (0..nodes).map(step).collect()
        }
        Fault::RedisStops(time) => vec![(at, Step::StopRedis), (at + time, Step::ContinueRedis)],
        Fault::RedisIsKilled(downtime) => {
            vec![(at, Step::KillRedis), (at + downtime, Step::StartRedis)]
        }
        once => vec![(at, Step::Once(once))],
    }
}
