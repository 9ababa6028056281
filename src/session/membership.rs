//! Sessions that are members of a channel: they get the list of members before they count as subscribed.

use super::Session;
use crate::presence::MembersRead;
use crate::protocol::{Code, Id, Reply, ReplyError, Speak};
use crate::publication::Channel;

impl Session {
    /// Whether a session may become a member of the channel. If not, it gets an error.
    pub(super) fn check_membership(&mut self, id: &Option<Id>, channel: &Channel) -> bool {
        let rules = self.context.hub.rules();
        if !self.state.is_member(channel) || rules.of(channel.as_str()).presence {
            return true;
        }
        let message = rules.explain_not_kept("presence", channel.as_str());
        let (id, name, code) = (id.clone(), Some(channel.to_string()), Code::NotFound);
        self.state.withdraw(channel);
        self.reply(&Reply::Error(ReplyError { id, channel: name, code, message }));
        false
    }

    /// Stamps what tells of members from now on, because the session is about to become a member of a channel.
    pub(super) fn stamp_members(&self) {
        if let Some(stamp) = self.state.protocol().member_stamp() {
            self.outbound.stamp_from_now(stamp);
        }
    }

    /// Asks for the list of members of a channel to which the session is subscribed.
    pub(super) fn list_members(&mut self, id: Option<Id>, channel: Channel) {
        let members = self.context.presence.shared_members(channel.clone());
        self.in_flight.join(id, channel, Box::pin(members));
    }

    /// The list of members is read. Without it the session is not subscribed.
    pub(super) fn joined(&mut self, id: Option<Id>, channel: Channel, answer: MembersRead) {
        match answer {
            Ok(members) => self.reply(&Reply::Joined { id, channel, members }),
            Err(unavailable) => {
                self.subscriptions.retain(|joined| !joined.is_of(&channel));
                self.state.withdraw(&channel);
                let refused = self.unavailable(id, Some(channel.to_string()), unavailable);
                self.reply_or_close(refused);
            }
        }
    }
}
