//! The numbers of wanted and confirmed channels over all masters.

use std::sync::Mutex;

use crate::telemetry;

#[derive(Debug, Default)]
pub struct SubscriptionCounts(Mutex<(usize, usize)>);

impl SubscriptionCounts {
    /// Records a change of one master's numbers of wanted and confirmed channels.
    pub fn changed(&self, before: (usize, usize), now: (usize, usize)) {
        let mut sums = self.0.lock().expect("no code panics while it holds the counts' lock");
        sums.0 = sums.0 + now.0 - before.0;
        sums.1 = sums.1 + now.1 - before.1;
        telemetry::subscriptions(sums.0, sums.1);
    }
}
