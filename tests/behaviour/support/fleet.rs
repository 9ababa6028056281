//! Nodes that serve the same channels, over whichever broker: one contract for all of them.

use super::node::Node;
use super::redis::Redis;

/// What carries publications between the nodes.
#[derive(Clone, Copy)]
pub enum Broker {
    Memory,
    Redis,
}

impl Broker {
    pub async fn fleet(self, settings: &[&str]) -> Fleet {
        match self {
            Self::Memory => Fleet::memory(settings).await,
            Self::Redis => Fleet::redis(settings).await,
        }
    }
}

pub struct Fleet {
    nodes: Vec<Node>,
    /// None: the nodes have no Redis.
    pub redis: Option<Redis>,
}

impl Fleet {
    /// A node by itself.
    pub async fn memory(settings: &[&str]) -> Self {
        Self { nodes: vec![Node::alone(settings).await], redis: None }
    }

    /// Two nodes on one Redis.
    pub async fn redis(settings: &[&str]) -> Self {
        let redis = Redis::start().await;
        let nodes = vec![Node::on(&redis, settings).await, Node::on(&redis, settings).await];
        Self { nodes, redis: Some(redis) }
    }

    /// Two nodes, or twice the same where there is but one.
    pub fn nodes(&self) -> [&Node; 2] {
        let (first, last) = (self.nodes.first(), self.nodes.last());
        [first.expect("a fleet has a node"), last.expect("a fleet has a node")]
    }

    /// Ends the first of two nodes at once, as a crash would.
    pub fn lose_node(&mut self) {
        assert!(self.nodes.len() > 1, "it is the only one");
        self.nodes.remove(0);
    }

    /// A metric's value, summed over all nodes.
    pub async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.;
        for node in &self.nodes {
            sum += node.metric(name).await;
        }
        sum
    }
}

/// Tells each of the stories of every broker.
macro_rules! of_every_broker {
    ($($story:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $story() {
                super::$story($crate::support::fleet::Broker::Memory).await;
            })+
        }

        mod redis {
            $(#[tokio::test]
            async fn $story() {
                super::$story($crate::support::fleet::Broker::Redis).await;
            })+
        }
    };
}

pub(crate) use of_every_broker;
