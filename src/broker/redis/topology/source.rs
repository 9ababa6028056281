//! Sources of the topology.

use std::time::Duration;

use super::layout::Layout;
use crate::broker::redis::context::RedisContext;

/// Why the topology is unknown.
#[derive(Debug, thiserror::Error)]
pub enum UnknownTopology {
    #[error("no server answers: {0}")]
    Unanswered(String),
    #[error("no sentinel knows a master of the service {0:?}")]
    Service(String),
    #[error("it is not a cluster: use redis:// (with TLS, rediss://) in broker.url")]
    NoCluster,
    #[error("no master has a slot")]
    NoSlots,
}

/// Sentinels, or the nodes of a cluster.
pub trait TopologySource: Send + 'static {
    /// How often the source is queried while no refresh is requested.
    const INTERVAL: Duration;

    fn query(
        &mut self,
        context: &RedisContext,
    ) -> impl Future<Output = Result<Layout, UnknownTopology>> + Send;
}
