//! What one master says on its subscribed connection, and to whom it is handed on.

use bytes::Bytes;

use super::connection_state::ConnectionState;
use super::probe;
use crate::broker::event::BrokerEvent;
use crate::broker::redis::announcement;
use crate::broker::redis::connection::cause::Cause;
use crate::broker::redis::connection::resp::RespMessage;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::header;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::presence::calls as presence;
use crate::broker::redis::revocation::calls as revocation;
use crate::broker::redis::rules::rule_changes::PendingRules;
use crate::publication::{Channel, Publication};
use crate::telemetry;

/// What a gap is put down to.
const RECONNECTED: &str = "broker_reconnected";
const RULES_CHANGED: &str = "rules_changed";
const TOO_LARGE: &str = "publication_too_large";

/// Hands it on.
#[derive(Clone, Copy)]
pub struct Dispatcher<'a> {
    pub lane: &'a Lane,
    pub context: &'a RedisContext,
}

impl Dispatcher<'_> {
    /// `more`: more was read behind it.
    pub fn dispatch(self, said: RespMessage<'_>, more: bool, course: &mut ConnectionState) {
        match said {
            RespMessage::Message { channel, payload } => {
                self.message(channel, payload, more, course);
            }
            RespMessage::Subscribed { channel } => self.subscribed(channel, course),
            RespMessage::Unsubscribed { channel } => self.unsubscribed(channel, course),
            RespMessage::TooLarge { channel, .. } => {
                if let Some(channel) = self.channel(channel) {
                    self.context.hand_on(BrokerEvent::Gap { channel: &channel, reason: TOO_LARGE });
                }
            }
            RespMessage::Error(error) => {
                course.is_doubtful = true;
                match Cause::of_line(error) {
                    Some(Cause::Moved) => self.lane.request_refresh(),
                    _ => self.refused(error, course),
                }
            }
            RespMessage::Greeted { .. } | RespMessage::Echoed(_) | RespMessage::Other => {}
        }
    }

    fn message(self, name: &[u8], payload: &[u8], more: bool, course: &mut ConnectionState) {
        let Some(channel) = self.context.channel(name) else { return };
        if revocation::is_channel(channel) {
            if let Some((user, before)) = revocation::told(payload) {
                (self.context.sink)(BrokerEvent::Revoked { user, before });
            }
            return;
        }
        let publication =
            header::read(Bytes::copy_from_slice(payload), |key| self.context.secrets.knows(key));
        if announcement::is_channel(channel) {
            self.announced(&publication);
        } else if Channel::is_probe(channel) {
            course.probed.send_replace(probe::number(&publication.payload));
        } else if let Some(told) = self.context.presence.channel_of(channel) {
            if let Some((user, change)) = presence::change(&publication.payload) {
                self.context.hand_on(BrokerEvent::Presence { channel: told, user, change });
            }
        } else {
            self.context.hand_on(BrokerEvent::Publication { channel, publication, more });
        }
    }

    fn announced(self, publication: &Publication) {
        if let Some(announcement) = announcement::told(&publication.payload) {
            (self.context.sink)(BrokerEvent::Announced(announcement));
        } else if announcement::told_news(&publication.payload)
            .is_some_and(|node| node != self.context.node)
        {
            self.context.rules_news.notify_one();
        }
    }

    fn subscribed(self, name: &[u8], course: &mut ConnectionState) {
        course.own_is(name, true, self.context);
        if let Some(kept) = course.kept(name, self.context) {
            kept.confirm();
            // What was said before went past this node.
            if revocation::is_channel(kept.channel.as_str()) {
                self.context.revocations_subscribed.notify_one();
            }
            if announcement::is_channel(kept.channel.as_str()) {
                self.context.rules_news.notify_one();
            }
        }
        if let Some(channel) = self.channel(name)
            && let Some(interrupted) = self.lane.wanted.confirm(&channel)
        {
            let map = &self.context.map;
            // While its slot comes here, others may have appended to its history before.
            let imported = map.imports(self.lane, map.slot(&channel));
            let behind = imported && self.context.keeps_history(channel.as_str());
            if !imported || interrupted || behind {
                let interrupted = (interrupted || behind).then_some(RECONNECTED);
                self.context.hand_on(BrokerEvent::Subscribed { channel: &channel, interrupted });
            }
        }
    }

    fn unsubscribed(self, name: &[u8], course: &mut ConnectionState) {
        course.own_is(name, false, self.context);
        if let Some(kept) = course.kept(name, self.context) {
            kept.confirmed = false;
            self.lane.request_refresh();
        }
        if let Some(channel) = self.channel(name)
            && self.lane.wanted.interrupted(&channel)
        {
            // The channel's slot has gone to another master.
            self.lane.request_refresh();
        }
    }

    /// Redis refuses to subscribe something. It does not say what, but what of the nodes' own is not confirmed
    /// is among it.
    fn refused(self, error: &[u8], course: &mut ConnectionState) {
        let names: Vec<_> =
            course.refuse_kept().map(|channel| self.context.name(channel)).collect();
        let error = String::from_utf8_lossy(error);
        telemetry::broker_refused("SUBSCRIBE", &names.join(", "), &error);
    }

    /// Has the hub look again at channels whose history begins or ends by other rules than the node's own.
    pub fn turn(self, turn: &PendingRules) {
        let own = self.context.library.get().rules();
        let is_meant = |channel: &Channel| {
            let name = channel.as_str();
            !Channel::is_internal(name) && own.kept_since(name).is_some() && turn.is_about(name)
        };
        for channel in self.lane.wanted.confirmed(is_meant) {
            let interrupted = Some(RULES_CHANGED);
            (self.context.sink)(BrokerEvent::Subscribed { channel: &channel, interrupted });
        }
    }

    /// The channel of a name in Redis.
    fn channel(self, name: &[u8]) -> Option<Channel> {
        let name = self.context.channel(name)?;
        match Channel::is_internal(name) {
            true => Some(Channel::internal(name)),
            false => Channel::new(name).ok(),
        }
    }
}
