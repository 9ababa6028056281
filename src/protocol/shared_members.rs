//! The members of a channel, read once for several sessions and encoded once for each format.

use std::sync::OnceLock;

use bytes::Bytes;

use super::Format;
use crate::publication::Members;

/// A list of members for all sessions that asked for it while it was read.
#[derive(Debug, Default)]
pub struct SharedMembers {
    pub members: Members,
    encoded: [OnceLock<Bytes>; Format::COUNT],
}

impl PartialEq for SharedMembers {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Eq for SharedMembers {}

impl SharedMembers {
    pub fn new(members: Members) -> Self {
        Self { members, ..Self::default() }
    }

    /// The bytes of the list in a format, encoded when the first session needs them.
    pub fn bytes(&self, format: Format, encode: impl FnOnce(&Members) -> Bytes) -> Bytes {
        self.encoded[format as usize].get_or_init(|| encode(&self.members)).clone()
    }

    /// Whether a user is among them. Users are sorted, those without a name first.
    pub fn contains(&self, user: &str) -> bool {
        let by_user = |member: &crate::publication::Member| member.user.as_deref().cmp(&Some(user));
        self.members.list.binary_search_by(by_user).is_ok()
    }
}
