//! Publishes one update on several channels.

use std::net::IpAddr;

use tokio::time::{Instant, timeout};

use super::Session;
use super::in_flight::CompletedCommand;
use super::rates::{RateKind, Rates};
use super::state::code_of;
use crate::auth::access::Right;
use crate::protocol::{Code, Reply, ReplyError};
use crate::publication::{Channel, Position, Publication};
use crate::telemetry::{self, Rejected};

impl Session {
    /// Publishes on each channel, in their order, unless the client may not publish on one of them. Returns the position on
    /// the first. If the broker refuses one, it may have accepted others.
    ///
    /// `client`: as for [`Session::answer`].
    pub async fn publish_update(
        &mut self,
        channels: Vec<Channel>,
        publication: Publication,
        client: IpAddr,
    ) -> Result<Option<Position>, ReplyError> {
        for channel in &channels {
            self.check_update(channel, &publication)?;
        }
        let now = Instant::now();
        self.count_update(channels.len(), publication.payload.len(), client, now)?;
        let context = self.context.clone();
        let broker = context.hub.broker();
        if !broker.has_capacity() {
            // If there is no room in time, the publication is refused for the same reason.
            _ = timeout(context.ending_timeout, broker.wait_for_capacity()).await;
        }
        let count = channels.len();
        for channel in channels {
            self.publish(None, channel, publication.clone(), now);
        }
        let mut positions = Vec::with_capacity(count);
        for _ in 0..count {
            positions.push(self.next_position().await);
        }
        let positions = positions.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(positions.first().copied().flatten())
    }

    fn check_update(&self, channel: &Channel, publication: &Publication) -> Result<(), ReplyError> {
        if let Err(denied) = self.state.check(Right::Publish, channel) {
            telemetry::rejected(Rejected::Forbidden, &denied);
            return Err(refused(channel, code_of(denied), denied.to_string()));
        }
        let is_run = self.context.hub.rules().of(channel.as_str()).run.is_some();
        match publication.is_private() && is_run {
            true => {
                let what = "a run has no private updates: its subscribers get one text".to_owned();
                Err(refused(channel, Code::BadRequest, what))
            }
            false => Ok(()),
        }
    }

    /// Counts an update as a publication on each channel. Fails if it exceeds the client's rate.
    fn count_update(
        &self,
        channels: usize,
        bytes: usize,
        client: IpAddr,
        now: Instant,
    ) -> Result<(), ReplyError> {
        let client = self.request_client(client);
        let count = |rates: &mut Rates| {
            rates.count(RateKind::Publications, channels, now)?;
            rates.count(RateKind::Bytes, bytes, now)
        };
        let counted = self.context.request_rates.with(client, &self.context.limits, now, count);
        counted.map_err(|excess| ReplyError {
            id: None,
            channel: None,
            code: Code::RateLimited,
            message: excess.message(),
        })
    }

    /// The broker's answer to the oldest publication in flight.
    async fn next_position(&mut self) -> Result<Option<Position>, ReplyError> {
        let unavailable = || ReplyError {
            id: None,
            channel: None,
            code: Code::Unavailable,
            message: "the broker did not answer".to_owned(),
        };
        let CompletedCommand::Published { id, started, trace, event, answer } =
            self.in_flight.next().await
        else {
            return Err(unavailable());
        };
        self.report_published(event, answer);
        match self.published(id, started, trace, answer) {
            Ok(Reply::Published { position, .. }) => Ok(position),
            Ok(Reply::Error(error)) => Err(error),
            Ok(_) | Err(_) => Err(unavailable()),
        }
    }
}

fn refused(channel: &Channel, code: Code, message: String) -> ReplyError {
    ReplyError { id: None, channel: Some(channel.to_string()), code, message }
}
