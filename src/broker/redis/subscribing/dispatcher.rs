//! Dispatches the messages of a master's subscribed connection.

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
use crate::broker::redis::pattern_channels;
use crate::broker::redis::presence::calls as presence;
use crate::broker::redis::revocation::calls as revocation;
use crate::broker::redis::rules::rule_changes::PendingRules;
use crate::publication::{Channel, Publication};
use crate::telemetry;

/// Reasons of gaps, as sent to clients.
const RECONNECTED: &str = "broker_reconnected";
const RULES_CHANGED: &str = "rules_changed";
const TOO_LARGE: &str = "publication_too_large";

/// Dispatches the messages of one lane.
#[derive(Clone, Copy)]
pub struct Dispatcher<'a> {
    pub lane: &'a Lane,
    pub context: &'a RedisContext,
}

impl Dispatcher<'_> {
    /// `more`: more messages follow immediately.
    pub fn dispatch(self, message: RespMessage<'_>, more: bool, state: &mut ConnectionState) {
        if !matches!(message, RespMessage::PatternSubscribed { .. }) {
            state.globs_told = false;
        }
        match message {
            RespMessage::Message { pattern: None, channel, payload } => {
                self.message(channel, payload, more, state);
            }
            RespMessage::Message { pattern: Some(glob), channel, payload } => {
                if let Some(channel) = self.shown_by(glob, channel, state) {
                    let publication = self.publication(payload);
                    let channel = channel.as_str();
                    self.context.deliver(BrokerEvent::Publication { channel, publication, more });
                }
            }
            RespMessage::PatternSubscribed { pattern } => self.glob_confirmed(pattern, state),
            RespMessage::PatternUnsubscribed { pattern } => state.routes.glob_unsubscribed(pattern),
            RespMessage::Subscribed { channel } => self.subscribed(channel, state),
            RespMessage::Unsubscribed { channel } => self.unsubscribed(channel, state),
            RespMessage::TooLarge { pattern, channel, .. } => {
                let channel = match pattern {
                    Some(glob) => self.shown_by(glob, channel, state),
                    None => self.channel(channel),
                };
                if let Some(channel) = channel {
                    self.context.deliver(BrokerEvent::Gap { channel: &channel, reason: TOO_LARGE });
                }
            }
            RespMessage::Error(error) => {
                state.had_error = true;
                match Cause::of_line(error) {
                    Some(Cause::Moved) => self.lane.request_refresh(),
                    _ => self.refused(error, state),
                }
            }
            RespMessage::Hello { .. } | RespMessage::Bulk(_) | RespMessage::Other => {}
        }
    }

    fn message(self, name: &[u8], payload: &[u8], more: bool, state: &mut ConnectionState) {
        let Some(channel) = self.context.channel(name) else { return };
        if revocation::is_channel(channel) {
            if let Some((user, before)) = revocation::read_message(payload) {
                (self.context.sink)(BrokerEvent::Revoked { user, before });
            }
            return;
        }
        if pattern_channels::is_shared(channel) {
            return self.message_of_shared(payload, more, state);
        }
        let publication = self.publication(payload);
        if announcement::is_channel(channel) {
            self.announced(&publication);
        } else if Channel::is_probe(channel) {
            state.last_probe.send_replace(probe::number(&publication.payload));
        } else if let Some(announced_channel) = self.context.presence.channel_of(channel) {
            if let Some(read) = presence::read_change(&publication.payload) {
                let presence::UserChange { user, change, info } = read;
                let channel = announced_channel;
                self.context.deliver(BrokerEvent::Presence { channel, user, change, info });
            }
        } else {
            self.context.deliver(BrokerEvent::Publication { channel, publication, more });
        }
    }

    /// Redis has confirmed a pattern. Those of one command are confirmed together, and the first one tells all.
    fn glob_confirmed(self, glob: &[u8], state: &mut ConnectionState) {
        state.routes.glob_subscribed(glob);
        let wanted = pattern_channels::channel_of_glob(&self.context.prefix, glob);
        if let Some(channel) = wanted
            && self.lane.subscriptions.confirm(&channel) == Some(true)
            && !std::mem::replace(&mut state.globs_told, true)
        {
            self.context.deliver(BrokerEvent::PatternsInterrupted { reason: RECONNECTED });
        }
    }

    /// A publication that a function has relayed for patterns.
    fn message_of_shared(self, payload: &[u8], more: bool, state: &ConnectionState) {
        let Some((channel, payload)) = pattern_channels::read_shared(payload) else { return };
        if !state.routes.is_by_name(channel.as_str()) {
            let (publication, channel) = (self.publication(payload), channel.as_str());
            self.context.deliver(BrokerEvent::Publication { channel, publication, more });
        }
    }

    fn publication(self, payload: &[u8]) -> Publication {
        header::read(Bytes::copy_from_slice(payload), |key| self.context.secrets.is_known(key))
    }

    /// The channel of a message by a pattern, if that is the subscription to deliver it by. Channels of the nodes' own are
    /// not.
    fn shown_by(self, glob: &[u8], name: &[u8], state: &ConnectionState) -> Option<Channel> {
        let channel = Channel::new(self.context.channel(name)?).ok()?;
        state.routes.delivers(glob, name, channel.as_str()).then_some(channel)
    }

    fn announced(self, publication: &Publication) {
        if let Some(announcement) = announcement::read(&publication.payload) {
            (self.context.sink)(BrokerEvent::Announced(announcement));
        } else if announcement::read_rules_installed(&publication.payload)
            .is_some_and(|node| node != self.context.node)
        {
            self.context.rules_may_have_changed.notify_one();
        }
    }

    fn subscribed(self, name: &[u8], state: &mut ConnectionState) {
        state.set_probe_confirmed(name, true, self.context);
        if let Some(pinned) = state.pinned_channel(name, self.context) {
            pinned.confirm();
            // Earlier messages were missed.
            if revocation::is_channel(pinned.channel.as_str()) {
                self.context.revocations_subscribed.notify_one();
            }
            if announcement::is_channel(pinned.channel.as_str()) {
                self.context.rules_may_have_changed.notify_one();
            }
        }
        let channel = self.channel(name);
        channel.iter().for_each(|channel| state.routes.subscribed(channel));
        if let Some(channel) = channel
            && let Some(interrupted) = self.lane.subscriptions.confirm(&channel)
        {
            if pattern_channels::is_pattern(&channel) {
                return self.shared_confirmed(interrupted, state);
            }
            let map = &self.context.map;
            // While the slot is being imported, the new master may have appended to the history
            // before.
            let imported = map.imports(self.lane, map.slot(&channel));
            let behind = imported && self.context.keeps_history(channel.as_str());
            if !imported || interrupted || behind {
                let interrupted = (interrupted || behind).then_some(RECONNECTED);
                self.context.deliver(BrokerEvent::Subscribed { channel: &channel, interrupted });
            }
        }
    }

    /// Redis has confirmed the shared channel of a slot. Sixteen thousand of them may be confirmed after an interruption: the
    /// first one tells the patterns, and the tick tells them once more if others followed.
    fn shared_confirmed(self, interrupted: bool, state: &mut ConnectionState) {
        state.shared_interrupted += u32::from(interrupted);
        if interrupted && state.shared_interrupted == 1 {
            self.context.deliver(BrokerEvent::PatternsInterrupted { reason: RECONNECTED });
        }
    }

    /// Tells the patterns of interruptions since they were last told.
    pub fn tell_patterns(self, state: &mut ConnectionState) {
        if std::mem::take(&mut state.shared_interrupted) > 1 {
            self.context.deliver(BrokerEvent::PatternsInterrupted { reason: RECONNECTED });
        }
    }

    fn unsubscribed(self, name: &[u8], state: &mut ConnectionState) {
        state.set_probe_confirmed(name, false, self.context);
        if let Some(pinned) = state.pinned_channel(name, self.context) {
            pinned.confirmed = false;
            self.lane.request_refresh();
        }
        let channel = self.channel(name);
        channel.iter().for_each(|channel| state.routes.unsubscribed(channel));
        if let Some(channel) = channel
            && self.lane.subscriptions.interrupted(&channel)
        {
            // The channel's slot has moved to another master.
            self.lane.request_refresh();
        }
    }

    /// Redis refused a subscription. The error does not name the channel, but it may be one of the
    /// unconfirmed pinned channels.
    fn refused(self, error: &[u8], state: &mut ConnectionState) {
        let names: Vec<_> =
            state.refuse_pinned().map(|channel| self.context.name(channel)).collect();
        let error = String::from_utf8_lossy(error);
        telemetry::broker_refused("SUBSCRIBE", &names.join(", "), &error);
    }

    /// Lets the hub catch up on channels whose history starts or ends by a change of rules, where
    /// the node's own rules keep history, and kept it when the node learned of the change.
    pub fn rules_changed(self, change: &PendingRules) {
        let own = self.context.library.get().rules();
        let is_own = |name: &str| own.kept_since(name).and(change.own.kept_since(name)).is_some();
        let is_meant = |channel: &Channel| {
            let name = channel.as_str();
            !Channel::is_internal(name) && is_own(name) && change.affects(name)
        };
        for channel in self.lane.subscriptions.confirmed(is_meant) {
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
