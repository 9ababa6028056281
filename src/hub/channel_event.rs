//! What a channel's catching up lets through to its subscribers.

use crate::publication::Publication;

/// Reasons of a gap.
pub const TRIMMED: &str = "history_trimmed";
pub const LOST: &str = "history_lost";
pub const CROWDED: &str = "too_many_publications";
pub const RULES_CHANGED: &str = "rules_changed";

/// What is to be told to subscribers, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    Publication(Publication),
    Gap(&'static str),
}
