//! How a client handles the node's messages.

use rand::Rng;
use serde_json::Value;
use testkit::audit::channels::ChannelNumber;
use testkit::audit::journal::{Entry, FIRST, HistoryReply, PublicationId, PublishOutcome};
use testkit::log::Position;
use testkit::server_message::ServerMessage;

use super::{Client, Pending, REMEMBERED_MAX};

impl Client {
    pub(super) fn handle_message(&mut self, text: &str, pending: &mut Pending) {
        let Some(push) = ServerMessage::parse(text) else {
            return self.write(Entry::Unexpected(text.to_owned()));
        };
        let channel = push.channel.as_deref().and_then(|name| self.number(name));
        match (push.kind.as_ref(), channel) {
            ("publication", Some(channel)) => {
                let Some(body) = push.data else {
                    return self.write(Entry::Unexpected(text.to_owned()));
                };
                if let Some(position) = push.position {
                    self.advance(channel, position);
                }
                let name = (body.p, body.n);
                self.write(Entry::Publication { channel, name, position: push.position });
            }
            ("subscribed", Some(channel)) => {
                let (id, position, recovered) = (push.id, push.position, push.recovered);
                self.on_subscribed(channel, id, position, recovered);
                self.write(Entry::Subscribed { id, channel, position, recovered });
            }
            ("unsubscribed", Some(channel)) => {
                self.write(Entry::Unsubscribed { id: push.id, channel });
            }
            ("history", Some(channel)) => {
                let since = push.id.and_then(|id| self.history_requests.remove(&id)).flatten();
                self.write(match excerpt(text, channel, since) {
                    Some(excerpt) => Entry::History(Box::new(excerpt)),
                    None => Entry::Unexpected(text.to_owned()),
                });
            }
            ("gap", Some(channel)) => {
                let reason = push.reason.unwrap_or_default().into_owned();
                self.write(Entry::Gap { channel, reason });
            }
            ("ended", Some(channel)) => {
                // Some clients resume from the end, and some from the last publication.
                if let Some(position) = push.position.filter(|_| self.random.random_bool(0.5)) {
                    self.advance(channel, position);
                }
                let reason = push.reason.unwrap_or_default().into_owned();
                self.write(Entry::Ended { channel, reason, position: push.position });
            }
            ("published", _) => {
                let number = push.id.and_then(|id| pending.remove(&id));
                match (number, &self.publisher) {
                    (Some(number), Some(publisher)) => {
                        publisher.record.end(number, PublishOutcome::Accepted(push.position));
                    }
                    _ => self.write(Entry::Unexpected(text.to_owned())),
                }
            }
            ("error", channel) => self.on_error(channel, &push, text, pending),
            ("welcome" | "pong" | "reconnect", _) => {}
            _ => self.write(Entry::Unexpected(text.to_owned())),
        }
    }

    fn on_subscribed(
        &mut self,
        channel: ChannelNumber,
        id: Option<u64>,
        position: Option<Position>,
        recovered: Option<bool>,
    ) {
        let state = self.states.get_mut(&channel).expect("it is assigned");
        let index = state.pending_subscribes.iter().position(|(sent, _)| Some(*sent) == id);
        let since = index.and_then(|index| state.pending_subscribes.remove(index).1);
        match (recovered, since) {
            (Some(true), since) => state.last = since.filter(|since| *since != FIRST),
            // The reply to a repeated subscription sets the position only if the client had none.
            (None, None) if state.last.is_some() => {}
            _ => state.last = position,
        }
    }

    fn on_error(
        &mut self,
        channel: Option<ChannelNumber>,
        push: &ServerMessage<'_>,
        text: &str,
        pending: &mut Pending,
    ) {
        let why = push.message.as_deref().unwrap_or_default().to_owned();
        if let Some(number) = push.id.and_then(|id| pending.remove(&id)) {
            let publisher = self.publisher.as_ref().expect("it has published");
            return publisher.record.end(number, PublishOutcome::Unknown);
        }
        if push.id.is_some_and(|id| self.history_requests.remove(&id).is_some()) {
            return;
        }
        let Some(channel) = channel else { return self.write(Entry::Unexpected(text.to_owned())) };
        let state = self.states.get_mut(&channel).expect("it is assigned");
        state.pending_subscribes.retain(|(sent, _)| Some(*sent) != push.id);
        let is_pending = !state.pending_subscribes.is_empty();
        let is_subscribed = self.is_subscribed(channel);
        let state = self.states.get_mut(&channel).expect("it is assigned");
        state.requested = state.requested && (is_subscribed || is_pending);
        self.write(Entry::Refused { id: push.id, channel, why });
    }

    /// Remembers a position; beyond `REMEMBERED_MAX`, it replaces a random one.
    fn advance(&mut self, channel: ChannelNumber, position: Position) {
        let state = self.states.get_mut(&channel).expect("it is assigned");
        state.last = Some(position);
        if state.past.len() < REMEMBERED_MAX {
            state.past.push(position);
        } else {
            let at = self.random.random_range(..REMEMBERED_MAX);
            state.past[at] = position;
        }
    }
}

fn excerpt(text: &str, channel: ChannelNumber, since: Option<Position>) -> Option<HistoryReply> {
    let reply: Value = serde_json::from_str(text).ok()?;
    let position = |of: &Value| of["position"].as_str().and_then(Position::parse);
    let publication = |it: &Value| -> Option<(Position, PublicationId)> {
        let publisher = usize::try_from(it["data"]["p"].as_u64()?).ok()?;
        Some((position(it)?, (publisher, it["data"]["n"].as_u64()?)))
    };
    let publications = reply["publications"].as_array()?.iter().map(publication);
    Some(HistoryReply {
        channel,
        since,
        publications: publications.collect::<Option<_>>()?,
        position: position(&reply),
        recovered: reply["recovered"].as_bool(),
        ended: reply["ended"].as_str().map(str::to_owned),
    })
}
