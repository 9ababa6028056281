//! Local presence: which users have how many sessions in which channels of this node, and which changes the
//! broker does not have yet. No I/O: takes sessions and the broker's answers, returns attendances.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::{
    ATTENDANCES_MAX, Attendance, MembershipState, RENEWALS_MAX, Renewal, Unavailable,
};
use crate::publication::{Channel, Member, User, UserInfo};

/// The members of this node. Its memory is proportional to them: every list holds each member or channel at
/// most once.
pub struct LocalPresence {
    grace: Duration,
    channels: HashMap<Channel, HashMap<User, Attendee>>,
    /// Users without a session who are still in their grace period, by its end.
    in_grace: BTreeSet<(Instant, Channel, User)>,
    changes: Changes,
    /// Channels that are due for renewal.
    due: VecDeque<Channel>,
}

/// One user in one channel.
#[derive(Debug, Default)]
struct Attendee {
    sessions: u32,
    /// The end of the grace period, if the user has no session.
    grace_ends_at: Option<Instant>,
    /// How many sessions the broker has; zero: the broker does not have the member. None: unknown, because a
    /// call failed.
    written: Option<u32>,
    /// What the user's newest token says of the user. Kept while the user has a session of any token.
    info: Option<UserInfo>,
    /// Whether the broker has that info too.
    is_info_written: bool,
    is_queued: bool,
    /// The broker has lost the member, but the other nodes got the join already.
    is_announced: bool,
}

impl Attendee {
    /// How many sessions the broker should have.
    fn expected_sessions(&self) -> u32 {
        match self.sessions {
            0 => u32::from(self.grace_ends_at.is_some()),
            sessions => sessions,
        }
    }

    /// Takes the info of one more session, unless it is older.
    fn set_info(&mut self, info: Option<&UserInfo>) {
        let newest = UserInfo::newer(self.info.clone(), info.cloned());
        if newest != self.info {
            self.info = newest;
            self.is_info_written = false;
        }
    }

    fn is_settled(&self) -> bool {
        let expected = self.expected_sessions();
        self.written == Some(expected) && (expected == 0 || self.is_info_written)
    }
}

/// The members that must be written to the broker, in the order of the changes.
#[derive(Default)]
struct Changes {
    queue: VecDeque<(Channel, User)>,
    /// How many were ever queued.
    queued: u64,
    /// How many were ever taken.
    taken: u64,
}

impl Changes {
    fn queue(&mut self, channel: &Channel, user: &User, attendee: &mut Attendee) {
        if !attendee.is_queued {
            attendee.is_queued = true;
            self.queued += 1;
            self.queue.push_back((channel.clone(), user.clone()));
        }
    }

    fn take(&mut self) -> Option<(Channel, User)> {
        let change = self.queue.pop_front()?;
        self.taken += 1;
        Some(change)
    }
}

impl LocalPresence {
    /// `grace`: how long a user without a session remains a member.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            channels: HashMap::new(),
            in_grace: BTreeSet::new(),
            changes: Changes::default(),
            due: VecDeque::new(),
        }
    }

    /// `info`: what the session's token says of the user.
    pub fn enter(&mut self, channel: &Channel, user: &User, info: Option<&UserInfo>) {
        let users = self.channels.entry(channel.clone()).or_default();
        let attendee = users
            .entry(user.clone())
            .or_insert_with(|| Attendee { written: Some(0), ..Attendee::default() });
        attendee.sessions += 1;
        attendee.set_info(info);
        if let Some(end) = attendee.grace_ends_at.take() {
            self.in_grace.remove(&(end, channel.clone(), user.clone()));
        }
        if !attendee.is_settled() {
            self.changes.queue(channel, user, attendee);
        }
    }

    /// Removes a session that has entered.
    pub fn leave(&mut self, channel: &Channel, user: &User, now: Instant) {
        let Some(attendee) = self.channels.get_mut(channel).and_then(|users| users.get_mut(user))
        else {
            return;
        };
        attendee.sessions = attendee.sessions.saturating_sub(1);
        if attendee.sessions == 0 && !self.grace.is_zero() {
            let end = now + self.grace;
            attendee.grace_ends_at = Some(end);
            self.in_grace.insert((end, channel.clone(), user.clone()));
        }
        if !attendee.is_settled() {
            self.changes.queue(channel, user, attendee);
        }
    }

    /// When the next user's grace period ends.
    pub fn next_grace_end(&self) -> Option<Instant> {
        self.in_grace.first().map(|(end, ..)| *end)
    }

    /// How many changes there have been; [`LocalPresence::settle`] returns how many of them were tried.
    pub fn changes(&self) -> u64 {
        self.changes.queued
    }

    /// The attendances to write next, at most [`ATTENDANCES_MAX`] members.
    pub fn take_changes(&mut self, now: Instant) -> Vec<Attendance> {
        self.end_graces(now);
        let mut attendances: Vec<Attendance> = Vec::new();
        let mut indexes: HashMap<(Channel, bool), usize> = HashMap::new();
        let mut members = 0;
        while members < ATTENDANCES_MAX
            && let Some((channel, user)) = self.changes.take()
        {
            let Some(attendee) =
                self.channels.get_mut(&channel).and_then(|users| users.get_mut(&user))
            else {
                continue;
            };
            attendee.is_queued = false;
            if attendee.is_settled() {
                self.drop_if_gone(&channel, &user);
                continue;
            }
            let sessions = attendee.expected_sessions();
            let is_new = attendee.written.unwrap_or(0) == 0 && !attendee.is_announced;
            let announce = sessions == 0 || is_new;
            let index = *indexes.entry((channel.clone(), announce)).or_insert_with(|| {
                attendances.push(Attendance { channel, members: Vec::new(), announce });
                attendances.len() - 1
            });
            let info = attendee.info.clone();
            attendances[index].members.push(Member { user, sessions, info });
            members += 1;
        }
        attendances
    }

    /// Takes the broker's answers; returns how many changes have been tried by now. A member that could not
    /// be written is queued again with its current state.
    pub fn settle(
        &mut self,
        attendances: &[Attendance],
        answers: &[Result<MembershipState, Unavailable>],
    ) -> u64 {
        let tried = self.changes.taken;
        for (attendance, answer) in attendances.iter().zip(answers) {
            for member in &attendance.members {
                self.settle_member(&attendance.channel, member, answer.is_ok());
            }
        }
        for (attendance, answer) in attendances.iter().zip(answers) {
            if let Ok(membership @ (MembershipState::Forgotten | MembershipState::Removed)) = answer
            {
                let of_channel = attendances.iter().filter(|it| it.channel == attendance.channel);
                let just_written =
                    of_channel.flat_map(|it| it.members.iter().map(|member| &member.user));
                self.requeue_members(&attendance.channel, *membership, &just_written.collect());
            }
        }
        tried
    }

    /// Makes all channels due for renewal.
    pub fn renew_all(&mut self) {
        self.due = self.channels.keys().cloned().collect();
    }

    /// The channels to renew next, at most [`RENEWALS_MAX`].
    pub fn take_due(&mut self) -> Vec<Renewal> {
        let count = self.due.len().min(RENEWALS_MAX);
        let renewals = self.due.drain(..count).filter_map(|channel| {
            let users = self.channels.get(&channel)?;
            let is_written = |attendee: &Attendee| Some(usize::from(attendee.written? > 0));
            let members = users.values().map(is_written).sum();
            Some(Renewal { channel, members })
        });
        renewals.collect()
    }

    /// Takes the broker's answers. A failed renewal is due again.
    pub fn settle_renewals(
        &mut self,
        renewals: &[Renewal],
        answers: &[Result<MembershipState, Unavailable>],
    ) {
        for (Renewal { channel, .. }, answer) in renewals.iter().zip(answers) {
            match answer {
                Ok(MembershipState::Known) => {}
                Ok(membership) => self.requeue_members(channel, *membership, &HashSet::new()),
                Err(_) => self.due.push_back(channel.clone()),
            }
        }
    }

    fn end_graces(&mut self, now: Instant) {
        while self.next_grace_end().is_some_and(|end| end <= now)
            && let Some((_, channel, user)) = self.in_grace.pop_first()
        {
            let users = self.channels.get_mut(&channel);
            let Some(attendee) = users.and_then(|users| users.get_mut(&user)) else { continue };
            attendee.grace_ends_at = None;
            self.changes.queue(&channel, &user, attendee);
        }
    }

    fn settle_member(&mut self, channel: &Channel, member: &Member, is_written: bool) {
        let users = self.channels.get_mut(channel);
        let Some(attendee) = users.and_then(|users| users.get_mut(&member.user)) else { return };
        attendee.written = is_written.then_some(member.sessions);
        attendee.is_info_written = is_written && attendee.info == member.info;
        attendee.is_announced &= !is_written;
        match attendee.is_settled() {
            true => self.drop_if_gone(channel, &member.user),
            false => self.changes.queue(channel, &member.user, attendee),
        }
    }

    /// Queues all members of the channel but those just written, because the broker has lost them.
    fn requeue_members(
        &mut self,
        channel: &Channel,
        membership: MembershipState,
        just_written: &HashSet<&User>,
    ) {
        for (user, attendee) in self.channels.get_mut(channel).into_iter().flatten() {
            // A member whose leave is queued stays queued: the broker may have it after all.
            let is_going = attendee.expected_sessions() == 0;
            if attendee.written == Some(0) || is_going || just_written.contains(user) {
                continue;
            }
            // For removed members the other nodes got a leave; for forgotten ones they got a join and no
            // leave.
            attendee.is_announced =
                membership == MembershipState::Forgotten && attendee.written.is_some();
            attendee.written = Some(0);
            self.changes.queue(channel, user, attendee);
        }
    }

    fn drop_if_gone(&mut self, channel: &Channel, user: &User) {
        let Some(users) = self.channels.get_mut(channel) else { return };
        let is_gone = |attendee: &Attendee| {
            attendee.expected_sessions() == 0 && attendee.is_settled() && !attendee.is_queued
        };
        if users.get(user).is_some_and(is_gone) {
            users.remove(user);
        }
        if users.is_empty() {
            self.channels.remove(channel);
        }
    }
}

#[cfg(test)]
mod tests;
