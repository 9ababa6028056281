//! How many nodes subscribe to channels.

use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::pubsub::CHANNELS_PER_COMMAND_MAX;
use crate::broker::redis::queries::NO_REPLY;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;
use crate::telemetry;

/// One number for each channel, in their order.
pub async fn nodes(context: &RedisContext, channels: &[Channel]) -> Result<Vec<u64>, Unavailable> {
    let mut nodes = vec![0; channels.len()];
    for (lane, channels) in context.map.by_lane(channels) {
        let lane = lane.ok_or(NO_REPLY)?;
        let counts = nodes_of(context, &lane, &channels).await?;
        for ((at, _), count) in channels.iter().zip(counts) {
            nodes[*at] = count;
        }
    }
    Ok(nodes)
}

/// The numbers for channels of one lane.
async fn nodes_of(
    context: &RedisContext,
    lane: &Lane,
    channels: &[(usize, &Channel)],
) -> Result<Vec<u64>, Unavailable> {
    let mut nodes = Vec::with_capacity(channels.len());
    for some in channels.chunks(CHANNELS_PER_COMMAND_MAX) {
        let mut command = ::redis::cmd("PUBSUB");
        command.arg(context.pubsub.count());
        for (_, channel) in some {
            command.arg(context.name(channel));
        }
        let counts: Vec<(Vec<u8>, u64)> = lane.query(&command).await.map_err(|error| {
            telemetry::broker_refused("PUBSUB NUMSUB", "", &error);
            NO_REPLY
        })?;
        nodes.extend(counts.into_iter().map(|(_, subscribers)| subscribers));
    }
    Ok(nodes)
}
