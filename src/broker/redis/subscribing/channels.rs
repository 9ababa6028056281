//! The channels to which any node subscribes.

use futures_util::future::join_all;

use crate::broker::redis::context::RedisContext;
use crate::broker::redis::pattern_channels::escaped;
use crate::broker::redis::queries::NO_REPLY;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;
use crate::telemetry;

/// The channels of all masters whose names begin with the prefix. Redis looks at every channel that has a subscriber.
pub async fn channels(context: &RedisContext, prefix: &str) -> Result<Vec<Channel>, Unavailable> {
    let pattern = format!("{}{}*", escaped(&context.prefix), escaped(prefix));
    let mut command = ::redis::cmd("PUBSUB");
    command.arg(context.pubsub.list()).arg(pattern);
    let lanes = context.map.lanes();
    let mut channels = Vec::new();
    for answer in join_all(lanes.iter().map(|lane| lane.query::<Vec<Vec<u8>>>(&command))).await {
        let names = answer.map_err(|error| {
            telemetry::broker_refused("PUBSUB CHANNELS", "", &error);
            NO_REPLY
        })?;
        // Names that are no channels of clients are the nodes' own.
        let of_clients = names.iter().filter_map(|name| Channel::new(context.channel(name)?).ok());
        channels.extend(of_clients);
    }
    Ok(channels)
}
