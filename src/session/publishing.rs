//! Publishes for a client, and turns the broker's answer into a reply.

use tokio::time::Instant;

use super::Session;
use crate::auth::access::Right;
use crate::broker::{ENDED, PublishedEvent, Receipt, TOO_LARGE, Unavailable};
use crate::close::Close;
use crate::protocol::{Code, Id, Reply, ReplyError, Speak, Will};
use crate::publication::{Channel, Position, Publication, User};
use crate::rules::NoControl;
use crate::telemetry::{self, Trace};

/// Where a run's rule gives its control channel, and that one cannot be used.
const NO_CONTROL: Unavailable = Unavailable(
    "the run's control channel would have too long a name, or be a run itself: see run.control of its rule",
);

impl Session {
    /// Publishes on the channel, or on the control channel of its run.
    pub(super) fn publish(
        &mut self,
        id: Option<Id>,
        channel: Channel,
        publication: Publication,
        now: Instant,
    ) {
        let control = self.context.hub.rules().control(&channel);
        let user = self.state.identity_on(&channel).and_then(|identity| identity.user.clone());
        let (channel, is_control) = match control {
            None => (channel, false),
            Some(Ok(control)) => (control, true),
            Some(Err(NoControl)) => {
                let refused = Receipt::ready(Err(NO_CONTROL));
                self.in_flight.publish(id, refused, now, Trace::default(), None);
                return;
            }
        };
        let mut own = self.subscriptions.iter().filter(|it| it.is_of(&channel));
        let echo = own.next().is_some_and(|own| own.subscription.echo());
        self.echoes_due = self.echoes_due.wrapping_add(u32::from(echo));
        let mut publication = self.with_origin(publication, user);
        let trace = telemetry::publication_received(self.format(), &channel, &mut publication);
        let policy = || self.context.hub.rules().of(channel.as_str());
        let event = self.context.events.publication(&channel, policy, &publication);
        let mut receipt = self.context.hub.publish(channel, publication);
        if is_control {
            // The position would be one of another channel than the client's.
            receipt = receipt.without_position();
        }
        self.in_flight.publish(id, receipt, now, trace, event);
    }

    /// Publishes what the client wants to be published when it is gone, if it may. Nothing waits for the broker's answer.
    pub(super) fn publish_will(&mut self, close: Close) {
        let Some(Will { channel, publication }) = self.state.protocol().take_will(close) else {
            return;
        };
        if self.state.check(Right::Publish, &channel).is_ok() {
            self.publish(None, channel, publication, Instant::now());
        }
    }

    /// Adds the session, the user and the time.
    fn with_origin(&self, publication: Publication, user: User) -> Publication {
        let session = Some(self.outbound.session());
        Publication { session, user, ..publication.sent_now() }
    }

    /// Reports a publication to the backend, if the broker has accepted it.
    pub(super) fn report_published(
        &self,
        event: Option<Box<PublishedEvent>>,
        answer: Result<Option<Position>, Unavailable>,
    ) {
        if let Ok(position) = answer {
            self.context.events.published(event, position);
        }
    }

    /// The broker has answered a publication. Returns the reply, or the close reason if the protocol has no
    /// message for it.
    pub(super) fn published(
        &mut self,
        id: Option<Id>,
        started: Instant,
        trace: Trace,
        answer: Result<Option<Position>, Unavailable>,
    ) -> Result<Reply, Close> {
        telemetry::publication_answered(trace, started.elapsed(), answer.map_err(|why| why.0));
        match answer {
            Ok(position) => Ok(Reply::Published { id, position }),
            Err(unavailable) => {
                // It is unknown which publications in flight will be delivered, so the session waits for
                // none.
                self.echoes_due = self.outbound.echoes();
                self.unavailable(id, None, unavailable)
            }
        }
    }

    /// Queues the reply, or closes the connection.
    pub(super) fn reply_or_close(&self, outcome: Result<Reply, Close>) {
        match outcome {
            Ok(reply) => self.reply(&reply),
            Err(close) => _ = self.outbound.close(close),
        }
    }

    /// The reply to a command that the broker could not execute, or the close reason if the protocol has no message for it.
    pub(super) fn unavailable(
        &self,
        id: Option<Id>,
        channel: Option<String>,
        why: Unavailable,
    ) -> Result<Reply, Close> {
        let (code, close) = match why {
            TOO_LARGE => (Code::TooLarge, Close::TooLarge),
            NO_CONTROL => (Code::BadRequest, Close::Policy(NO_CONTROL.0)),
            ENDED => (Code::Ended, Close::Ended { is_told: false }),
            _ => (Code::Unavailable, Close::Unavailable),
        };
        let error = ReplyError { id, channel, code, message: why.to_string() };
        self.state.protocol().refuse(error, close)
    }
}
