//! What a session keeps of its subscriptions to patterns.

use std::sync::Arc;

use crate::hub::{Hub, PatternSession, PatternSubscription};

/// The patterns of a session that has any.
pub struct SessionPatterns {
    pub hub: Hub,
    pub session: Arc<PatternSession>,
    /// At most `session.patterns_max`.
    pub list: Vec<PatternSubscription>,
}

impl Drop for SessionPatterns {
    fn drop(&mut self) {
        self.list.clear();
        self.hub.end_patterns(self.session.id());
    }
}
