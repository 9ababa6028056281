//! Three nodes, each with its own addresses, which it keeps after a restart.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::redis::{Redis, free_address};
use testkit::token::KEYS;
use tokio::time::sleep;

use crate::plan::Plan;

pub const NODES: usize = 3;

/// The publications that a channel stores: more than a client misses during a restart.
const HISTORY: usize = 50_000;

/// The time that a node may need to exit in addition to its configured drain.
const EXIT_SLACK: Duration = Duration::from_secs(5);

/// The pause between two checks for an exited node.
const EXIT_CHECK_INTERVAL: Duration = Duration::from_millis(20);

pub struct Fleet {
    /// By number; a node that exited stays in it until it is replaced.
    nodes: Vec<Node>,
    /// Public and internal.
    pub addresses: Vec<(SocketAddr, SocketAddr)>,
    file: TempDir,
    broker: String,
    /// The longest that a node may take to drain and exit.
    exit_time_max: Duration,
    /// The logs of replaced nodes.
    replaced_logs: Vec<String>,
}

impl Fleet {
    pub async fn start(redis: &Redis, plan: Plan) -> Self {
        let file = tempfile::tempdir().expect("a temporary directory");
        fs::write(file.path().join("nodes.toml"), settings(plan)).expect("the file is written");
        let addresses = (0..NODES).map(|_| (free_address(), free_address())).collect();
        let mut fleet = Self {
            nodes: Vec::new(),
            addresses,
            file,
            broker: format!("broker.url={}", redis.url()),
            exit_time_max: plan.length.delay() + plan.length.period() + EXIT_SLACK,
            replaced_logs: Vec::new(),
        };
        for number in 0..NODES {
            let node = fleet.node(number).await;
            fleet.nodes.push(node);
        }
        for node in &fleet.nodes {
            node.wait_until_ready().await;
        }
        fleet
    }

    pub fn terminate(&self, number: usize) {
        self.nodes[number].signal(Signal::TERM);
    }

    /// Waits until a node exits; returns the time it took. Fails if it takes too long or the exit code is not 0.
    pub async fn wait_for_exit(&mut self, number: usize) -> Result<Duration, String> {
        let (node, started) = (&mut self.nodes[number], Instant::now());
        loop {
            match node.process.exit_status() {
                Some(status) if status.success() => return Ok(started.elapsed()),
                Some(status) => return Err(format!("node {} ended by {status}", number + 1)),
                None if started.elapsed() > self.exit_time_max => {
                    return Err(format!(
                        "node {} is still running after {:?}",
                        number + 1,
                        self.exit_time_max
                    ));
                }
                None => sleep(EXIT_CHECK_INTERVAL).await,
            }
        }
    }

    /// Replaces a node that exited by a new one, and waits until that is ready.
    pub async fn replace(&mut self, number: usize) {
        let node = self.node(number).await;
        node.wait_until_ready().await;
        let old = std::mem::replace(&mut self.nodes[number], node);
        self.replaced_logs.extend(old.process.stderr());
    }

    /// The log line of a panic, also of a replaced node.
    pub fn panic(&self) -> Option<String> {
        let now = self.nodes.iter().flat_map(|node| node.process.stderr());
        now.chain(self.replaced_logs.iter().cloned()).find(|line| line.contains("panicked"))
    }

    async fn node(&self, number: usize) -> Node {
        let (public, internal) = self.addresses[number];
        let public = format!("server.listen={public}");
        let internal = format!("internal.listen={internal}");
        let file = self.file.path().join("nodes.toml");
        Node::with_config_file(&file, &[&self.broker, &public, &internal]).await
    }
}

fn settings(plan: Plan) -> String {
    let (delay, period) = (plan.length.delay().as_secs(), plan.length.period().as_secs());
    let cap = plan.length.reconnects_per_second();
    let history = match plan.history {
        true => format!("history = {{ size = {HISTORY}, age = \"10m\" }}\n"),
        false => String::new(),
    };
    format!(
        "{KEYS}\n[drain]\ndelay = \"{delay}s\"\nperiod = \"{period}s\"\nreconnects_per_second = {cap}\n\
         [[rules]]\npattern = \"**\"\nsubscribe = \"anyone\"\npublish = \"anyone\"\n{history}"
    )
}
