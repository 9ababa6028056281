//! The topology: finds the masters and updates the lane map.

mod cluster;
mod epochs;
pub mod layout;
mod sentinel;
mod server_poll;
mod source;
mod watching;

use std::sync::Arc;

use self::cluster::Cluster;
use self::layout::Layout;
use self::sentinel::Sentinel;
use self::source::{TopologySource, UnknownTopology};
use self::watching::{expire, follow, watch};
use super::context::RedisContext;
use super::url::{Deployment, Masters};
use crate::critical_tasks;

/// Starts the lanes of the masters, and where the masters can change, the task that follows them.
pub fn start(context: &Arc<RedisContext>, deployment: &Deployment) {
    match deployment.masters.clone() {
        Masters::Single(address) => follow(context, &Layout::one(address)),
        Masters::Sentinel { sentinels, service } => {
            critical_tasks::spawn("queues without a master", expire(context.clone()));
            let sentinel = Sentinel::new(sentinels, service, deployment);
            critical_tasks::spawn("topology", watch(context.clone(), sentinel));
        }
        Masters::Cluster { nodes } => {
            critical_tasks::spawn("queues without a master", expire(context.clone()));
            critical_tasks::spawn("topology", watch(context.clone(), Cluster::new(nodes)));
        }
    }
}

/// Queries the masters once.
pub async fn query(
    context: &RedisContext,
    deployment: &Deployment,
) -> Result<Layout, UnknownTopology> {
    match deployment.masters.clone() {
        Masters::Single(address) => Ok(Layout::one(address)),
        Masters::Sentinel { sentinels, service } => {
            Sentinel::new(sentinels, service, deployment).query(context).await
        }
        Masters::Cluster { nodes } => Cluster::new(nodes).query(context).await,
    }
}
