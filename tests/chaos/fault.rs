//! The faults, one function each, which injects the fault, waits, and removes it.

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
    strike: Inject,
    tidy: Option<Restore>,
}

/// In the order of execution and of the table.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "redis-killed",
        setups: &[Alone, Durable],
        short: &[Alone, Durable],
        strike: |stage| Box::pin(redis::killed(stage)),
        tidy: None,
    },
    Fault {
        name: "redis-hangs",
        setups: &[Alone],
        short: &[],
        strike: |stage| Box::pin(hanging::redis(stage)),
        tidy: None,
    },
    Fault {
        name: "redis-full",
        setups: &[Alone, Sentinel, Cluster],
        short: &[],
        strike: |stage| Box::pin(redis::full(stage)),
        tidy: None,
    },
    Fault {
        name: "functions-flushed",
        setups: &[Alone, Sentinel, Cluster],
        short: &[],
        strike: |stage| Box::pin(redis::functions_flushed(stage)),
        tidy: None,
    },
    Fault {
        name: "subscribers-cut",
        setups: &[Alone, Sentinel, Cluster],
        short: &[Alone],
        strike: |stage| Box::pin(redis::subscribers_cut(stage)),
        tidy: None,
    },
    Fault {
        name: "all-partitioned",
        setups: &[Linked],
        short: &[],
        strike: |stage| Box::pin(partition::all(stage)),
        tidy: None,
    },
    Fault {
        name: "node-partitioned",
        setups: &[Linked],
        short: &[Linked],
        strike: |stage| Box::pin(partition::one(stage)),
        tidy: None,
    },
    Fault {
        name: "node-hangs",
        setups: &[Alone, Sentinel, Cluster],
        short: &[],
        strike: |stage| Box::pin(hanging::node(stage)),
        tidy: None,
    },
    Fault {
        name: "node-overflows",
        setups: &[Alone],
        short: &[],
        strike: |stage| Box::pin(slow::node(stage)),
        tidy: None,
    },
    Fault {
        name: "node-killed",
        setups: &[Alone, Sentinel, Cluster],
        short: &[Alone],
        strike: |stage| Box::pin(node::killed(stage)),
        tidy: None,
    },
    Fault {
        name: "nodes-rolled",
        setups: &[Alone, Sentinel, Cluster],
        short: &[],
        strike: |stage| Box::pin(node::rolled(stage)),
        tidy: None,
    },
    Fault {
        name: "subscriber-slow",
        setups: &[Alone, Sentinel, Cluster],
        short: &[Alone],
        strike: |stage| Box::pin(slow::subscriber(stage)),
        tidy: None,
    },
    Fault {
        name: "master-killed",
        setups: &[Sentinel],
        short: &[Sentinel],
        strike: |stage| Box::pin(sentinel::master_killed(stage)),
        tidy: Some(|stage| Box::pin(sentinel::restart_old_master(stage))),
    },
    Fault {
        name: "master-hangs",
        setups: &[Sentinel],
        short: &[],
        strike: |stage| Box::pin(sentinel::master_hangs(stage)),
        tidy: Some(|stage| Box::pin(sentinel::thaw(stage))),
    },
    Fault {
        name: "shard-killed",
        setups: &[Cluster],
        short: &[Cluster],
        strike: |stage| Box::pin(cluster::master_killed(stage)),
        tidy: Some(|stage| Box::pin(cluster::restart_old_master(stage))),
    },
    Fault {
        name: "slots-moved",
        setups: &[Cluster],
        short: &[Cluster],
        strike: |stage| Box::pin(cluster::slots_moved(stage)),
        tidy: None,
    },
];

impl Fault {
    /// Whether Redis may lose acknowledged publications: it restarts empty, or a replica that was behind is
    /// promoted.
    pub fn loses_history(&self, setup: Setup) -> bool {
        match self.name {
            "redis-killed" => setup == Alone,
            "master-killed" | "master-hangs" | "shard-killed" => true,
            _ => false,
        }
    }

    pub async fn inject(&self, stage: &mut Stage) -> Instant {
        (self.strike)(stage).await
    }

    pub async fn tidy(&self, stage: &mut Stage) {
        if let Some(tidy) = self.tidy {
            tidy(stage).await;
        }
    }
}
