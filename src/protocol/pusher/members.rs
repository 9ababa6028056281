//! What tells of the members of a channel, and what of it one session gets.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::name::{is_presence, name_of};
use super::written;
use crate::protocol::SharedMembers;
use crate::publication::{Change, UserInfo};

/// The most users whose changes are held until the list of members is written: as many as a list may have.
const HELD_MAX: usize = 10_000;

/// What a frame is to the stamp of a member. No frame of a WebSocket begins with such a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemberMark {
    Added = 1,
    Removed,
    /// The list of members, with which a subscription begins.
    Listed,
}

/// The parts of a marked frame.
pub struct MemberFrame<'a> {
    pub channel: &'a str,
    /// Empty in a list.
    pub user: &'a str,
    /// Where the frame of the WebSocket begins.
    pub rest: usize,
}

impl MemberMark {
    const EACH: [Self; 3] = [Self::Added, Self::Removed, Self::Listed];

    /// None: the frame is written as it is.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let first = usize::from(*frame.first()?);
        Self::EACH.get(first.checked_sub(1)?).copied()
    }

    pub fn frame(self, channel: &str, user: &str, rest: &[u8]) -> Bytes {
        let length = |text: &str| u16::try_from(text.len()).unwrap_or_default().to_be_bytes();
        let (of_channel, of_user) = (length(channel), length(user));
        let parts: [&[u8]; 6] =
            [&[self as u8], &of_channel, channel.as_bytes(), &of_user, user.as_bytes(), rest];
        parts.concat().into()
    }

    pub fn parts(frame: &[u8]) -> Option<MemberFrame<'_>> {
        let (channel, rest) = text(frame.get(1..)?)?;
        let (user, rest) = text(rest)?;
        Some(MemberFrame { channel, user, rest: frame.len() - rest.len() })
    }
}

/// A text behind its length.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((str::from_utf8(text).ok()?, rest))
}

/// The frame for a user who has joined or left. None: the channel's members are not told.
pub fn changed(
    channel: &str,
    user: &str,
    change: Change,
    info: Option<&UserInfo>,
) -> Option<Bytes> {
    #[derive(serde::Serialize)]
    struct MemberData<'a> {
        user_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_info: Option<&'a RawValue>,
    }
    let name = name_of(channel);
    if !is_presence(&name) {
        return None;
    }
    let (mark, event) = match change {
        Change::Join => (MemberMark::Added, "pusher_internal:member_added"),
        Change::Leave => (MemberMark::Removed, "pusher_internal:member_removed"),
    };
    let user_info = info.and_then(|info| written::raw(info.json()));
    let data = serde_json::to_string(&MemberData { user_id: user, user_info });
    let data = data.expect("texts are always JSON");
    Some(mark.frame(channel, user, &written::event(event, Some(&name), &data)))
}

/// The changes that came after a session was subscribed and before it got the list of members: of each user the last one.
#[derive(Debug, Default)]
pub struct HeldChanges(HashMap<Box<str>, (MemberMark, Bytes)>);

impl HeldChanges {
    pub fn add(&mut self, user: &str, mark: MemberMark, frame: Bytes) {
        if self.0.len() < HELD_MAX || self.0.contains_key(user) {
            self.0.insert(user.into(), (mark, frame));
        }
    }

    /// The list and what has changed since it was read. A change that the list contains already is left out.
    pub fn after(self, list: Bytes, members: Option<&SharedMembers>) -> Bytes {
        let is_news = |user: &str, mark: MemberMark| {
            let is_listed = members.is_some_and(|members| members.contains(user));
            is_listed == (mark == MemberMark::Removed)
        };
        let news = self.0.iter().filter(|(user, (mark, _))| is_news(user, *mark));
        let mut news = news.map(|(_, (_, frame))| frame).peekable();
        if news.peek().is_none() {
            return list;
        }
        let mut out = list.to_vec();
        news.for_each(|frame| out.extend_from_slice(frame));
        out.into()
    }
}

/// What tells of a join may come after the list that has it: the list is read from Redis on another connection than that of
/// the channel.
#[derive(Debug)]
pub struct LateChanges {
    /// Presence keeps it for as long as such changes are expected.
    list: Weak<SharedMembers>,
    /// The users of the list who have left since; a later join of theirs is news.
    left: HashSet<Box<str>>,
}

impl LateChanges {
    pub fn new(list: &Arc<SharedMembers>) -> Self {
        Self { list: Arc::downgrade(list), left: HashSet::new() }
    }

    /// Whether the list, and the changes since, do not have the change. None: every change is news from now on.
    pub fn is_news(&mut self, user: &str, mark: MemberMark) -> Option<bool> {
        let list = self.list.upgrade()?;
        if !list.contains(user) {
            return Some(true);
        }
        Some(match mark {
            MemberMark::Removed => self.left.insert(user.into()),
            MemberMark::Added | MemberMark::Listed => self.left.remove(user),
        })
    }
}
