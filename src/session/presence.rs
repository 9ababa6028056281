//! The `presence` command.

use crate::presence::Presence;
use crate::protocol::{Code, Id, Reply, ReplyError};
use crate::publication::Channel;
use crate::rules::Rules;

/// Reads the reply to a `presence` command.
pub async fn read(presence: Presence, rules: Rules, id: Option<Id>, channel: Channel) -> Reply {
    let refuse = |code, message| {
        let channel = Some(channel.to_string());
        Reply::Error(ReplyError { id: id.clone(), channel, code, message })
    };
    if !rules.of(channel.as_str()).presence {
        return refuse(Code::NotFound, rules.explain_not_kept("presence", channel.as_str()));
    }
    match presence.members(channel.clone()).await {
        Ok(members) => Reply::Presence { id, channel, members },
        Err(why) => refuse(Code::Unavailable, why.to_string()),
    }
}
