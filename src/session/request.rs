//! A session of one short request: it executes one command, and ends with its reply.

use std::net::IpAddr;

use tokio::time::{Instant, timeout};

use super::Session;
use super::in_flight::CompletedCommand;
use super::rates::{RateKind, Rates};
use super::request_rates::RequestClient;
use super::state::Action;
use crate::close::Close;
use crate::protocol::{Code, Message, Reply, ReplyError, Speak};
use bytes::Bytes;

/// The result of a request.
#[derive(Debug)]
pub enum RequestAnswer {
    /// The body of a successful response.
    Body(Bytes),
    Error(ReplyError),
}

impl Session {
    /// Executes the command of the message. Returns the reason instead if the session would be closed for it.
    ///
    /// `client`: its address, under which the requests of clients without a user are counted.
    pub async fn answer(
        mut self: Box<Self>,
        message: Message,
        client: IpAddr,
    ) -> Result<RequestAnswer, Close> {
        if let Some(close) = self.outbound.closing() {
            return Err(close);
        }
        let now = Instant::now();
        let client = self.request_client(client);
        let (context, state) = (self.context.clone(), &mut self.state);
        let action = context.request_rates.with(client, &context.limits, now, |rates| {
            state.swap_rates(rates);
            let mut actions = state.handle_message(message, 0, |_| false, now);
            state.swap_rates(rates);
            actions.pop()
        });
        let reply = match action {
            Some(Action::Do(command)) => {
                let broker = self.context.hub.broker();
                if !broker.has_capacity() {
                    // If there is no room in time, the publication is refused for the same reason.
                    _ = timeout(self.context.ending_timeout, broker.wait_for_capacity()).await;
                }
                self.execute(command, now);
                match self.in_flight.next().await {
                    CompletedCommand::Published { id, started, trace, event, answer } => {
                        self.report_published(event, answer);
                        self.published(id, started, trace, answer)?
                    }
                    CompletedCommand::Answered(Some(reply)) => reply,
                    _ => return Err(Close::Internal),
                }
            }
            Some(Action::Reply(reply)) => reply,
            Some(Action::Close(close)) => return Err(close),
            None => return Err(Close::Internal),
        };
        match (self.state.protocol().reply(&reply), reply) {
            (_, Reply::Error(error)) => Ok(RequestAnswer::Error(error)),
            (Some(body), _) => Ok(RequestAnswer::Body(body)),
            (None, _) => Err(Close::Internal),
        }
    }

    /// Counts a request that has no command, such as a poll. Fails if it exceeds the client's rate.
    pub fn count_request(&mut self, client: IpAddr) -> Result<(), ReplyError> {
        let now = Instant::now();
        let client = self.request_client(client);
        let count = |rates: &mut Rates| rates.count(RateKind::Commands, 1, now);
        let counted = self.context.request_rates.with(client, &self.context.limits, now, count);
        counted.map_err(|excess| ReplyError {
            id: None,
            channel: None,
            code: Code::RateLimited,
            message: excess.message(),
        })
    }

    pub(super) fn request_client(&self, address: IpAddr) -> RequestClient {
        RequestClient::new(self.state.principal().user(), address)
    }
}
