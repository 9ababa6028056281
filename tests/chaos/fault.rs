//! The faults. Each has one function that injects the fault, waits, and removes it.

mod cluster;
mod hanging;
mod node;
mod partition;
mod redis;
mod sentinel;
mod slow;

use std::pin::Pin;
use std::time::Instant;

use crate::backend::Setup::{self, Alone, Cluster, Durable, Linked, Sentinel};
use crate::stage::Stage;

/// Returns after the fault is removed, with the time from which recovery is measured.
type Inject = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = Instant> + 'a>>;

/// Restores the setup after the system has recovered, also under traffic.
type Restore = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

pub struct Fault {
    pub name: &'static str,
    pub setups: &'static [Setup],
    /// The setups of a short run.
    pub short: &'static [Setup],
    inject: Inject,
    restore: Option<Restore>,
}

/// In the order of execution and of the table.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "redis-killed",
        setups: &[Alone, Durable],
        short: &[Alone, Durable],
        inject: |stage| Box::pin(redis::killed(stage)),
        restore: None,
    },
    Fault {
        name: "redis-hangs",
        setups: &[Alone],
        short: &[],
        inject: |stage| Box::pin(hanging::redis(stage)),
        restore: None,
    },
    Fault {
        name: "redis-full",
        setups: &[Alone, Sentinel, Cluster],
        short: &[],
        inject: |stage| Box::pin(redis::full(stage)),
        restore: None,
    },
    Fault {
        name: "functions-flushed",
        setups: &[Alone, Sentinel, Cluster],
        short: &[],
        inject: |stage| Box::pin(redis::functions_flushed(stage)),
        restore: None,
    },
    Fault {
        name: "subscribers-cut",
        setups: &[Alone, Sentinel, Cluster],
        short: &[Alone],
        inject: |stage| Box::pin(redis::subscribers_cut(stage)),
        restore: None,
    },
    Fault {
        name: "all-partitioned",
        setups: &[Linked],
        short: &[],
        inject: |stage| Box::pin(partition::all(stage)),
        restore: None,
    },
    Fault {
        name: "node-partitioned",
        setups: &[Linked],
        short: &[Linked],
        inject: |stage| Box::pin(partition::one(stage)),
        restore: None,
    },
    Fault {
        name: "node-hangs",
        setups: &[Alone, Sentinel, Cluster],
        short: &[],
        inject: |stage| Box::pin(hanging::node(stage)),
        restore: None,
    },
    Fault {
        name: "node-overflows",
        setups: &[Alone],
        short: &[],
        inject: |stage| Box::pin(slow::node(stage)),
        restore: None,
    },
    Fault {
        name: "node-killed",
        setups: &[Alone, Sentinel, Cluster],
        short: &[Alone],
        inject: |stage| Box::pin(node::killed(stage)),
        restore: None,
    },
    Fault {
        name: "nodes-rolled",
        setups: &[Alone, Sentinel, Cluster],
        short: &[],
        inject: |stage| Box::pin(node::rolled(stage)),
        restore: None,
    },
    Fault {
        name: "subscriber-slow",
        setups: &[Alone, Sentinel, Cluster],
        short: &[Alone],
        inject: |stage| Box::pin(slow::subscriber(stage)),
        restore: None,
    },
    Fault {
        name: "master-killed",
        setups: &[Sentinel],
        short: &[Sentinel],
        inject: |stage| Box::pin(sentinel::master_killed(stage)),
        restore: Some(|stage| Box::pin(sentinel::restart_old_master(stage))),
    },
    Fault {
        name: "master-hangs",
        setups: &[Sentinel],
        short: &[],
        inject: |stage| Box::pin(sentinel::master_hangs(stage)),
        restore: Some(|stage| Box::pin(sentinel::thaw(stage))),
    },
    Fault {
        name: "shard-killed",
        setups: &[Cluster],
        short: &[Cluster],
        inject: |stage| Box::pin(cluster::master_killed(stage)),
        restore: Some(|stage| Box::pin(cluster::restart_old_master(stage))),
    },
    Fault {
        name: "slots-moved",
        setups: &[Cluster],
        short: &[Cluster],
        inject: |stage| Box::pin(cluster::slots_moved(stage)),
        restore: None,
    },
];

impl Fault {
    /// Whether Redis may lose acknowledged publications: it restarts without data, or Sentinel or the cluster
    /// promotes a replica that is behind.
    pub fn loses_history(&self, setup: Setup) -> bool {
        match self.name {
            "redis-killed" => setup == Alone,
            "master-killed" | "master-hangs" | "shard-killed" => true,
            _ => false,
        }
    }

    pub async fn inject(&self, stage: &mut Stage) -> Instant {
        (self.inject)(stage).await
    }

    pub async fn restore(&self, stage: &mut Stage) {
        if let Some(restore) = self.restore {
            restore(stage).await;
        }
    }
}
