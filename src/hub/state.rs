//! What the hub and its guards share.

use std::sync::Arc;

use super::registry::Registry;
use crate::broker::Broker;

/// The node's channels and connections, and the broker behind them.
pub struct HubState {
    pub registry: Arc<Registry>,
    pub broker: Arc<dyn Broker>,
}
