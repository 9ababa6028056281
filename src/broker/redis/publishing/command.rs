//! The command that publishes.

use ::redis::Pipeline;

use super::master_queue::QueuedPublication;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::header;
use crate::publication::Channel;

/// Adds the command of one publication to the pipeline, or of the end of a run after one.
///
/// `key`: signs the header line of a publication that does not go through the functions.
pub fn add(
    context: &RedisContext,
    pipeline: &mut Pipeline,
    queued: &QueuedPublication,
    key: Option<&str>,
) {
    let (channel, publication) = (&queued.request.channel, &queued.request.publication);
    let name = context.name(channel);
    if let Some(reason) = &publication.end {
        pipeline
            .cmd("FCALL")
            .arg("tidegate_end")
            .arg(1)
            .arg(name)
            .arg(reason.as_str())
            .arg(&publication.payload[..])
            .arg(header::object(publication, context.node));
        return;
    }
    if context.appends(channel.as_str()) || context.relays_to_patterns(channel.as_str()) {
        let id = publication.id.as_deref().unwrap_or_default();
        let millis = publication.sent_at.map(|micros| (micros / 1000).to_string());
        pipeline
            .cmd("FCALL")
            .arg("tidegate_append")
            .arg(1)
            .arg(name)
            .arg(&publication.payload[..])
            .arg(header::object(publication, context.node))
            .arg(id)
            .arg(millis.unwrap_or_default());
    } else {
        if !Channel::is_internal(channel.as_str()) {
            context.routing.plain_publishes.published(channel);
        }
        let line = header::write(publication, context.node, key);
        pipeline.cmd(context.pubsub.publish()).arg(name).arg(line);
    }
}
