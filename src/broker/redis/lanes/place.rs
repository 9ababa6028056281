//! Where publications wait to go out, and channels to be subscribed: at a master's lane, or nowhere.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::redis::publishing::line::Line;
use crate::broker::redis::subscribing::tally::Tally;
use crate::broker::redis::subscribing::wanted::Wanted;

pub struct Place {
    pub line: Line,
    pub wanted: Wanted,
}

impl Place {
    /// `timeout`: how long either may wait.
    pub fn new(timeout: Duration, tally: Arc<Tally>) -> Self {
        Self { line: Line::new(timeout), wanted: Wanted::new(timeout, tally) }
    }
}
