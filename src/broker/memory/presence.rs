//! The members of channels on a single node.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use crate::broker::event::{BrokerEvent, Sink};
use crate::broker::presence::{Attendance, MEMBERS_MAX};
use crate::publication::{Change, Channel, Member, Members, User, UserInfo};

/// A member's number of sessions, and what the token says of the user.
type MemberState = (u32, Option<UserInfo>);

/// The members of all channels, with their numbers of sessions.
pub struct MemberTable {
    channels: Mutex<HashMap<Channel, BTreeMap<User, MemberState>>>,
    sink: Sink,
}

impl MemberTable {
    pub fn new(sink: Sink) -> Self {
        Self { channels: Mutex::default(), sink }
    }

    pub fn write(&self, attendance: &Attendance) {
        let changes = self.apply(attendance);
        // After the lock is released, because the sink writes to sockets.
        for (user, change, info) in changes.into_iter().filter(|_| attendance.announce) {
            let channel = attendance.channel.as_str();
            (self.sink)(BrokerEvent::Presence { channel, user, change, info });
        }
    }

    /// Returns the users who joined and left.
    fn apply(&self, attendance: &Attendance) -> Vec<(User, Change, Option<UserInfo>)> {
        let mut channels = self.channels();
        let users = channels.entry(attendance.channel.clone()).or_default();
        let mut changes = Vec::new();
        for Member { user, sessions, info } in &attendance.members {
            let before = match sessions {
                0 => users.remove(user),
                sessions => users.insert(user.clone(), (*sessions, info.clone())),
            };
            match (before, sessions) {
                (None, 1..) => changes.push((user.clone(), Change::Join, info.clone())),
                (Some(_), 0) => changes.push((user.clone(), Change::Leave, None)),
                _ => {}
            }
        }
        if users.is_empty() {
            channels.remove(&attendance.channel);
        }
        changes
    }

    /// At most [`MEMBERS_MAX`].
    pub fn members(&self, channel: &Channel) -> Members {
        let channels = self.channels();
        let Some(users) = channels.get(channel) else { return Members::default() };
        let mut left = UserInfo::LIST_BYTES_MAX;
        let list = users.iter().take(MEMBERS_MAX).map(|(user, (sessions, info))| {
            let info = info.clone().filter(|info| {
                let rest = left.checked_sub(info.json().len());
                left = rest.unwrap_or(left);
                rest.is_some()
            });
            Member { user: user.clone(), sessions: *sessions, info }
        });
        Members { list: list.collect(), truncated: users.len() > MEMBERS_MAX }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<Channel, BTreeMap<User, MemberState>>> {
        self.channels.lock().expect("no code panics while it holds this lock")
    }
}
