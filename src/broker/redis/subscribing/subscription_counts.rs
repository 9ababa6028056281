//! How many channels are wanted and confirmed, over all masters.

use std::sync::Mutex;

use crate::telemetry;

#[derive(Debug, Default)]
pub struct SubscriptionCounts(Mutex<(usize, usize)>);

impl SubscriptionCounts {
    /// One master's part has become `now`; each is wanted and confirmed.
    pub fn changed(&self, before: (usize, usize), now: (usize, usize)) {
        let mut sums = self.0.lock().expect("no code panics while it holds the tally");
        sums.0 = sums.0 + now.0 - before.0;
        sums.1 = sums.1 + now.1 - before.1;
        telemetry::subscriptions(sums.0, sums.1);
    }
}
