//! The nodes of a run and their configuration.

use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::eventually;
use testkit::log::Channel;
use testkit::node::Node;
use testkit::token::KEYS;

use crate::backend::Backend;
use crate::directory::Directory;

/// The size of a long history: more than a client can miss during any fault.
const LONG_HISTORY: usize = 50_000;

/// The size of a short history.
const SHORT_HISTORY: usize = 10;

/// The longest that nodes may report ready while Redis hangs.
const UNREADY_MAX: Duration = Duration::from_secs(7);

pub struct Fleet {
    pub nodes: Vec<Node>,
    pub directory: Directory,
    urls: Vec<String>,
    file: TempDir,
    /// The logs of replaced nodes.
    replaced_logs: Vec<(usize, Vec<String>)>,
}

impl Fleet {
    pub async fn start(size: usize, backend: &Backend) -> Self {
        let file = tempfile::tempdir().expect("a temporary directory");
        fs::write(file.path().join("nodes.toml"), settings()).expect("the file is written");
        let urls = (0..size).map(|node| backend.url(node)).collect();
        let mut fleet = Self {
            nodes: Vec::new(),
            directory: Directory::default(),
            urls,
            file,
            replaced_logs: Vec::new(),
        };
        for number in 0..size {
            let node = fleet.node(number).await;
            fleet.directory.set(number, node.public);
            fleet.nodes.push(node);
        }
        for node in &fleet.nodes {
            node.wait_until_ready().await;
        }
        fleet
    }

    /// Replaces a node that ended or is about to end by a new, ready one that clients use.
    pub async fn replace(&mut self, number: usize) -> Node {
        let node = self.node(number).await;
        node.wait_until_ready().await;
        self.directory.set(number, node.public);
        let old = std::mem::replace(&mut self.nodes[number], node);
        self.replaced_logs.push((number, old.process.stderr()));
        old
    }

    pub async fn wait_until_ready(&self) {
        eventually("all nodes to be ready", async || {
            for node in &self.nodes {
                if !node.is_ready().await {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Waits until these nodes are not ready without Redis. The guarantee is 5 s; a busy machine gets more.
    pub async fn wait_until_unready(&self, nodes: &[usize]) {
        let started = Instant::now();
        for node in nodes {
            self.nodes[*node].wait_until_unready().await;
        }
        let took = started.elapsed();
        assert!(took < UNREADY_MAX, "nodes without Redis were ready for {took:?} more");
    }

    /// The logs of all nodes, including replaced ones.
    pub fn logs(&self) -> Vec<(usize, Vec<String>)> {
        let now = self.nodes.iter().enumerate().map(|(number, it)| (number, it.process.stderr()));
        self.replaced_logs.iter().cloned().chain(now).collect()
    }

    /// The log line of a panic.
    pub fn panic(&self) -> Option<String> {
        let mut lines = self.logs().into_iter().flat_map(|(_, lines)| lines);
        lines.find(|line| line.contains("panicked"))
    }

    async fn node(&self, number: usize) -> Node {
        let url = format!("broker.url={}", self.urls[number]);
        Node::with_config_file(&self.file.path().join("nodes.toml"), &[&url]).await
    }
}

/// The channels of every run: without history, with a long and with a short history; the first two kinds
/// include a channel for bursts.
pub fn channels() -> Vec<Channel> {
    let channel = |name: String| Channel {
        history: !name.starts_with("n:"),
        short_history: name.starts_with("s:"),
        flooded: name.ends_with(":flood"),
        name,
    };
    let mut names: Vec<String> = (1..=6).map(|it| format!("n:{it}")).collect();
    names.push("n:flood".to_owned());
    names.extend((1..=6).map(|it| format!("h:{it}")));
    names.extend((1..=2).map(|it| format!("s:{it}")));
    names.push("h:flood".to_owned());
    names.into_iter().map(channel).collect()
}

fn settings() -> String {
    let rule = |pattern: &str, history: &str| {
        format!(
            "[[rules]]\npattern = \"{pattern}\"\nsubscribe = \"anyone\"\npublish = \"anyone\"\n{history}"
        )
    };
    let size = |size: usize| format!("history = {{ size = {size}, age = \"10m\" }}\n");
    let (long, short) = (size(LONG_HISTORY), size(SHORT_HISTORY));
    let rules = [rule("h:*", &long), rule("s:*", &short), rule("n:*", "")].concat();
    // With users, because an idempotency key of an anonymous session ends with its connection.
    format!("{KEYS}\n[drain]\ndelay = \"300ms\"\nperiod = \"1s\"\n{rules}")
}
