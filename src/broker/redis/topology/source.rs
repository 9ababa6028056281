//! What can be asked for the masters.

use std::time::Duration;

use super::layout::Layout;
use crate::broker::redis::context::RedisContext;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum UnknownTopology {
    #[error("nobody answers: {0}")]
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
    /// How often the source is asked while nobody doubts.
    const INTERVAL: Duration;

    fn look(
        &mut self,
        context: &RedisContext,
    ) -> impl Future<Output = Result<Layout, UnknownTopology>> + Send;
}
