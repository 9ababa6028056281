//! Where publications wait to go out, and channels to be subscribed: at a master's lane, or nowhere.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::redis::publishing::master_queue::MasterQueue;
use crate::broker::redis::subscribing::subscription_counts::SubscriptionCounts;
use crate::broker::redis::subscribing::subscription_queue::SubscriptionQueue;

pub struct SlotQueues {
    pub line: MasterQueue,
    pub wanted: SubscriptionQueue,
}

impl SlotQueues {
    /// `timeout`: how long either may wait.
    pub fn new(timeout: Duration, tally: Arc<SubscriptionCounts>) -> Self {
        Self { line: MasterQueue::new(timeout), wanted: SubscriptionQueue::new(timeout, tally) }
    }
}
