//! Bursts of large publications, from a service.

use std::time::Instant;

use testkit::log::{Channel, ChannelNumber, Publication, PublisherLog, PublisherNumber};
use testkit::publisher::Publish;
use testkit::server_message::Payload;
use testkit::service::Service;

pub struct Flood {
    number: PublisherNumber,
    channel: Channel,
    service: Service,
    sent: PublisherLog,
}

impl Flood {
    pub fn new(
        number: PublisherNumber,
        index: ChannelNumber,
        channel: Channel,
        service: Service,
    ) -> Self {
        Self {
            number,
            channel,
            service,
            sent: PublisherLog { channel: index, ..PublisherLog::default() },
        }
    }

    pub fn has_history(&self) -> bool {
        self.channel.history
    }

    /// Sends `count` publications, each once; unacknowledged ones do not count.
    pub async fn send(&mut self, count: usize, bytes: usize) {
        for _ in 0..count {
            let number = self.sent.publications.len() as u64 + 1;
            let payload = Payload { p: self.number, n: number }.text(bytes);
            let mut publication = Publication {
                started: Instant::now(),
                attempts: 1,
                acknowledged: None,
                position: None,
            };
            let key = format!("flood-{}-{number}", self.number);
            if let Ok(position) = self.service.publish(&self.channel, &payload, &key).await {
                publication.acknowledged = Some(Instant::now());
                publication.position = position;
            }
            self.sent.publications.push(publication);
        }
    }

    pub fn sent(&self) -> PublisherLog {
        self.sent.clone()
    }
}
