//! Topics and topic filters (section 4.7). A topic is a channel of the same name.

use super::reason::Reason;
use crate::publication::Channel;

/// Why a topic filter cannot be subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterFault {
    pub reason: Reason,
    pub what: &'static str,
}

/// What a filter of a shared subscription begins with (section 4.8.2).
const SHARED: &str = "$share/";

/// The channel of a filter without wildcards.
pub fn channel_of_filter(filter: &str) -> Result<Channel, FilterFault> {
    let fault = |reason, what| Err(FilterFault { reason, what });
    if filter.starts_with(SHARED) {
        return fault(Reason::SharedNotSupported, "the node has no shared subscriptions");
    }
    if filter.contains(['+', '#']) {
        return fault(Reason::WildcardNotSupported, "the node takes no wildcards");
    }
    Channel::new(filter).or_else(|_| {
        fault(
            Reason::FilterInvalid,
            "a channel name is 1 to 255 bytes of UTF-8 without white space or control characters",
        )
    })
}
