//! The plain protocol: a frame is a publication, a publication is a frame.

use bytes::Bytes;

use super::{Command, Message};
use crate::frame;
use crate::publication::{Channel, Publication, Traceparent};

pub fn decode(channel: &Channel, traceparent: Option<&Traceparent>, message: Message) -> Command {
    let publication = Publication {
        traceparent: traceparent.copied(),
        ..Publication::new(message.payload, message.kind)
    };
    Command::Publish { id: None, channel: channel.clone(), publication }
}

pub fn publication(publication: &Publication) -> Bytes {
    frame::message(publication.kind, &publication.payload)
}
