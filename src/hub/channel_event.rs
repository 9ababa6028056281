//! What a channel cursor lets through to the channel's subscribers.

use crate::publication::Publication;

/// Gap reasons.
pub const TRIMMED: &str = "history_trimmed";
pub const LOST: &str = "history_lost";
pub const TOO_MANY_PUBLICATIONS: &str = "too_many_publications";
pub const RULES_CHANGED: &str = "rules_changed";

/// What subscribers get, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    Publication(Publication),
    Gap(&'static str),
}
