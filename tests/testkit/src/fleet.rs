//! Nodes that serve the same channels over any broker, so that one test covers all brokers.

use crate::cluster::Cluster;
use crate::node::Node;
use crate::redis::Redis;
use crate::sentinel::Sentinel;

/// The broker between the nodes.
#[derive(Clone, Copy)]
pub enum Broker {
    Memory,
    Redis,
    Sentinel,
    Cluster,
}

impl Broker {
    pub async fn fleet(self, settings: &[&str]) -> Fleet {
        match self {
            Self::Memory => Fleet::memory(settings).await,
            Self::Redis => Fleet::redis(settings).await,
            Self::Sentinel => Fleet::sentinel(settings).await,
            Self::Cluster => Fleet::cluster(settings).await,
        }
    }
}

pub struct Fleet {
    nodes: Vec<Node>,
    servers: Servers,
}

enum Servers {
    None,
    One(Redis),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

impl Fleet {
    /// One node with the memory broker.
    pub async fn memory(settings: &[&str]) -> Self {
        Self { nodes: vec![Node::standalone(settings).await], servers: Servers::None }
    }

    /// Two nodes on one Redis.
    pub async fn redis(settings: &[&str]) -> Self {
        let redis = Redis::start().await;
        Self::at(&redis.url(), settings, Servers::One(redis)).await
    }

    pub async fn sentinel(settings: &[&str]) -> Self {
        let sentinel = Sentinel::start().await;
        Self::at(&sentinel.url(), settings, Servers::Sentinel(sentinel)).await
    }

    pub async fn cluster(settings: &[&str]) -> Self {
        let cluster = Cluster::without_replicas().await;
        Self::at(&cluster.url(), settings, Servers::Cluster(cluster)).await
    }

    async fn at(url: &str, settings: &[&str], servers: Servers) -> Self {
        let nodes = vec![Node::start_at(url, settings).await, Node::start_at(url, settings).await];
        for node in &nodes {
            node.wait_until_ready().await;
        }
        Self { nodes, servers }
    }

    /// Two nodes, or the only node twice.
    pub fn nodes(&self) -> [&Node; 2] {
        let (first, last) = (self.nodes.first(), self.nodes.last());
        [first.expect("a fleet has a node"), last.expect("a fleet has a node")]
    }

    /// Kills the first of two nodes, as a crash would. Does nothing if there is only one.
    pub fn kill_node(&mut self) {
        if self.nodes.len() > 1 {
            self.nodes.remove(0);
        }
    }

    /// The Redis of a fleet with a single Redis.
    pub fn server(&self) -> &Redis {
        match &self.servers {
            Servers::One(redis) => redis,
            _ => panic!("a fleet on one Redis"),
        }
    }

    /// All its Redis servers.
    pub fn servers(&self) -> &[Redis] {
        match &self.servers {
            Servers::None => &[],
            Servers::One(redis) => std::slice::from_ref(redis),
            Servers::Sentinel(sentinel) => &sentinel.servers,
            Servers::Cluster(cluster) => &cluster.servers,
        }
    }

    /// Publishes as a service, with a bare `PUBLISH` or `SPUBLISH`. Returns false without Redis.
    pub async fn publish_on_redis(&self, channel: &str, payload: &str) -> bool {
        match &self.servers {
            Servers::None => return false,
            Servers::One(redis) => _ = redis.publish(channel, payload).await,
            Servers::Sentinel(sentinel) => {
                let master = sentinel.master().await;
                sentinel.servers[master].publish(channel, payload).await;
            }
            Servers::Cluster(cluster) => cluster.publish(channel, payload).await,
        }
        true
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

/// Runs each test with the memory, Redis and cluster broker. Sentinels manage a single Redis, so only the
/// tests that can depend on them are in `sentinel::`.
#[macro_export]
macro_rules! for_every_broker {
    ($($test:ident),+ $(,)?) => {
        $crate::for_broker!(memory, Memory, $($test),+);
        $crate::for_broker!(redis, Redis, $($test),+);
        $crate::for_broker!(cluster, Cluster, $($test),+);
    };
}

/// Runs each test with one broker.
#[macro_export]
macro_rules! for_broker {
    ($name:ident, $broker:ident, $($test:ident),+ $(,)?) => {
        mod $name {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::fleet::Broker::$broker).await;
            })+
        }
    };
}

/// Runs each test with the two brokers that start quickly: memory and a single Redis.
#[macro_export]
macro_rules! for_simple_brokers {
    ($($test:ident),+ $(,)?) => {
        $crate::for_broker!(memory, Memory, $($test),+);
        $crate::for_broker!(redis, Redis, $($test),+);
    };
}

pub use crate::{for_broker, for_every_broker, for_simple_brokers};
