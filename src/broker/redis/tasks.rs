//! The tasks of a lane.

use std::sync::Arc;

use super::context::Context;
use super::lanes::lane::Lane;
use super::publishing::publisher;
use super::subscribing::subscriber;
use crate::vital;

/// Starts them; they run until the lane is retired.
pub fn start(lane: &Arc<Lane>, context: &Arc<Context>) {
    let publishing = publisher::run(lane.clone(), context.clone());
    vital::spawn("publisher", lane.clone().until_retired(publishing));
    let subscribing = subscriber::run(lane.clone(), context.clone());
    vital::spawn("subscriber", lane.clone().until_retired(subscribing));
}
