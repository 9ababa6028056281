//! The tasks of a lane.

use std::sync::Arc;

use super::context::RedisContext;
use super::lanes::lane::Lane;
use super::publishing::publisher;
use super::subscribing::subscriber;
use crate::critical_tasks;

/// Starts the tasks, which run until the lane is retired.
pub fn start(lane: &Arc<Lane>, context: &Arc<RedisContext>) {
    let publishing = publisher::run(lane.clone(), context.clone());
    critical_tasks::spawn("publisher", lane.clone().until_retired(publishing));
    let subscribing = subscriber::run(lane.clone(), context.clone());
    critical_tasks::spawn("subscriber", lane.clone().until_retired(subscribing));
}
