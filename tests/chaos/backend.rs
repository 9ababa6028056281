//! The Redis of a run: a single server, with Sentinel, or a Cluster.

use std::net::SocketAddr;

use testkit::cluster::Cluster;
use testkit::network::Network;
use testkit::redis::Redis;
use testkit::sentinel::{SERVICE, Sentinel};
use testkit::service::RedisAddress;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// One server without persistence.
    Alone,
    /// One server with an append-only file.
    Durable,
    /// One server, each node with a link to it that can be cut.
    Linked,
    Sentinel,
    Cluster,
}

impl Setup {
    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Durable => "durable",
            Self::Linked => "linked",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }
}

pub enum Backend {
    Alone(Redis),
    Linked(Redis, Network),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

impl Backend {
    /// Fails with the reason if this system does not support it.
    pub async fn start(setup: Setup, nodes: usize) -> Result<Self, String> {
        Ok(match setup {
            Setup::Alone => Self::Alone(Redis::start().await),
            Setup::Durable => {
                let mut redis = Redis::stopped_with(&["--appendonly", "yes"]);
                redis.run().await;
                Self::Alone(redis)
            }
            Setup::Linked => {
                // The last link is for the suite itself and is never cut.
                let network = Network::with_links(nodes + 1).await?;
                let mut redis = Redis::stopped_within(&network, network.address(nodes), &[]);
                redis.run().await;
                Self::Linked(redis, network)
            }
            Setup::Sentinel => Self::Sentinel(Sentinel::start().await),
            Setup::Cluster => Self::Cluster(Cluster::with_replicas().await),
        })
    }

    /// The `broker.url` of a node, by its index in the fleet.
    pub fn url(&self, node: usize) -> String {
        match self {
            Self::Alone(redis) => redis.url(),
            Self::Linked(redis, network) => {
                format!("redis://{}:{}", network.address(node), redis.address.port())
            }
            Self::Sentinel(sentinel) => sentinel.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// The address of Redis for services.
    pub fn redis_address(&self) -> RedisAddress {
        let addresses = |servers: &[Redis]| -> Vec<SocketAddr> {
            servers.iter().map(|it| it.address).collect()
        };
        match self {
            Self::Alone(redis) | Self::Linked(redis, _) => RedisAddress::At(redis.address),
            Self::Sentinel(sentinel) => {
                RedisAddress::Sentinels { sentinels: sentinel.addresses(), service: SERVICE }
            }
            Self::Cluster(cluster) => RedisAddress::Cluster(addresses(&cluster.servers)),
        }
    }

    /// The servers that accept publications now.
    pub async fn masters(&self) -> Vec<&Redis> {
        match self {
            Self::Alone(redis) | Self::Linked(redis, _) => vec![redis],
            Self::Sentinel(sentinel) => vec![&sentinel.servers[sentinel.master().await]],
            Self::Cluster(cluster) => {
                cluster.masters().await.into_iter().map(|it| &cluster.servers[it]).collect()
            }
        }
    }

    /// All running servers.
    pub fn servers(&self) -> Vec<&Redis> {
        match self {
            Self::Alone(redis) | Self::Linked(redis, _) => vec![redis],
            Self::Sentinel(Sentinel { servers, .. }) | Self::Cluster(Cluster { servers, .. }) => {
                servers.iter().filter(|it| it.is_running()).collect()
            }
        }
    }

    /// The server of a setup with a single one.
    pub fn single_server(&mut self) -> &mut Redis {
        match self {
            Self::Alone(redis) | Self::Linked(redis, _) => redis,
            _ => panic!("this fault requires a single server"),
        }
    }

    pub fn network(&self) -> &Network {
        match self {
            Self::Linked(_, network) => network,
            _ => panic!("this fault requires links"),
        }
    }

    pub fn sentinel(&mut self) -> &mut Sentinel {
        match self {
            Self::Sentinel(sentinel) => sentinel,
            _ => panic!("this fault requires Sentinel"),
        }
    }

    pub fn cluster(&mut self) -> &mut Cluster {
        match self {
            Self::Cluster(cluster) => cluster,
            _ => panic!("this fault requires a cluster"),
        }
    }
}
