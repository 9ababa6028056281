//! The queues of publications and subscriptions: those of one master, or of slots without a master.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::redis::publishing::master_queue::MasterQueue;
use crate::broker::redis::subscribing::subscription_counts::SubscriptionCounts;
use crate::broker::redis::subscribing::subscription_queue::SubscriptionQueue;

pub struct SlotQueues {
    pub publications: MasterQueue,
    pub subscriptions: SubscriptionQueue,
}

impl SlotQueues {
    /// `timeout`: how long publications and subscriptions may wait.
    pub fn new(timeout: Duration, counts: Arc<SubscriptionCounts>) -> Self {
        Self {
            publications: MasterQueue::new(timeout),
            subscriptions: SubscriptionQueue::new(timeout, counts),
        }
    }
}
