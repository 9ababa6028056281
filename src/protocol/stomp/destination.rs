//! The channels that destinations name.

use crate::publication::{Channel, InvalidChannel};

/// Why a destination names no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDestination {
    #[error(
        "a destination is /channel/NAME, /topic/NAME, or NAME without a slash at its begin; there are no queues"
    )]
    Unknown,
    #[error("{0}")]
    Channel(InvalidChannel),
}

/// The channel of `/channel/NAME`, `/topic/NAME` or `NAME`.
pub fn channel_of(destination: &str) -> Result<Channel, InvalidDestination> {
    let named = ["/channel/", "/topic/"].iter().find_map(|it| destination.strip_prefix(it));
    let name = match named {
        Some(name) => name,
        // Clients of other brokers mean a queue, a reply queue or an exchange by it, which a channel is not.
        None if destination.starts_with('/') => return Err(InvalidDestination::Unknown),
        None => destination,
    };
    Channel::new(name).map_err(InvalidDestination::Channel)
}
