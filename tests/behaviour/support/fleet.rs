//! Nodes that serve the same channels, over whichever broker: one contract for all of them.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use super::cluster::Cluster;
use super::node::Node;
use super::redis::Redis;
use super::sentinel::Sentinel;

/// What carries publications between the nodes.
#[derive(Clone, Copy)]
pub enum Broker {
    Memory,
    Redis,
    Sentinel,
    Cluster,
}

impl Broker {
    /// Two nodes; a single one where the broker is its memory.
    pub async fn fleet(self, settings: &[&str]) -> Fleet {
        match self {
            Self::Memory => Fleet::memory(settings).await,
            Self::Redis => Fleet::redis(settings).await,
            Self::Sentinel => {
                let sentinel = Sentinel::shared().await;
                Fleet::beside_others(&sentinel.url(), Shared::Sentinel(sentinel), settings).await
            }
            Self::Cluster => {
                let cluster = Cluster::shared().await;
                Fleet::beside_others(&cluster.url(), Shared::Cluster(cluster), settings).await
            }
        }
    }
}

pub struct Fleet {
    nodes: Vec<Node>,
    /// None: it has none of its own.
    pub redis: Option<Redis>,
    _shared: Option<Shared>,
}

/// What fleets have together. It ends with the last of them.
enum Shared {
    Sentinel(#[expect(dead_code, reason = "held for its drop")] Arc<Sentinel>),
    Cluster(#[expect(dead_code, reason = "held for its drop")] Arc<Cluster>),
}

impl Fleet {
    /// A node by itself.
    pub async fn memory(settings: &[&str]) -> Self {
        Self { nodes: vec![Node::alone(settings).await], redis: None, _shared: None }
    }

    /// Two nodes on one Redis.
    pub async fn redis(settings: &[&str]) -> Self {
        let redis = Redis::start().await;
        let nodes = two(&redis.url(), settings).await;
        Self { nodes, redis: Some(redis), _shared: None }
    }

    /// Two nodes under a prefix of their own.
    async fn beside_others(url: &str, shared: Shared, settings: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let prefix = format!("broker.prefix=fleet-{}:", NUMBER.fetch_add(1, Relaxed));
        let nodes = two(url, &[&[prefix.as_str()], settings].concat()).await;
        Self { nodes, redis: None, _shared: Some(shared) }
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

async fn two(url: &str, settings: &[&str]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let node = Node::at(url, settings).await;
        node.becomes_ready().await;
        nodes.push(node);
    }
    nodes
}

/// Tells each of the stories of a broker.
macro_rules! of_broker {
    ($room:ident, $broker:ident, $($story:ident),+ $(,)?) => {
        mod $room {
            $(#[tokio::test]
            async fn $story() {
                super::$story($crate::support::fleet::Broker::$broker).await;
            })+
        }
    };
}

/// Tells each of the stories of the two brokers that start in no time: memory and a single Redis.
macro_rules! of_simple_brokers {
    ($($story:ident),+ $(,)?) => {
        $crate::support::fleet::of_broker!(memory, Memory, $($story),+);
        $crate::support::fleet::of_broker!(redis, Redis, $($story),+);
    };
}

/// Tells each of the stories of every broker. A master that sentinels guard is one Redis to a story
/// without a failover: `of_broker` tells the few that its replicas could matter to.
macro_rules! of_every_broker {
    ($($story:ident),+ $(,)?) => {
        $crate::support::fleet::of_simple_brokers!($($story),+);
        $crate::support::fleet::of_broker!(cluster, Cluster, $($story),+);
    };
}

pub(crate) use {of_broker, of_every_broker, of_simple_brokers};
