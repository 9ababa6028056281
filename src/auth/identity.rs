//! The identity in a verified token.

use std::sync::Arc;
use std::time::SystemTime;

use crate::publication::{Channel, User, UserInfo};
use crate::rules::Pattern;
use crate::topics::TopicRights;

/// The user of a session, and the channels its token lists.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The claim `sub`. None: the token names no user.
    pub user: User,
    /// The claim `info`. None: the token has none, or names no user.
    pub info: Option<UserInfo>,
    /// Channels it lists for subscribing; `{user}` in them is the user.
    pub subscribe: Box<[Pattern]>,
    /// Channels it lists for publishing.
    pub publish: Box<[Pattern]>,
    /// The topics it lists, which are channels. None: the token says nothing of topics.
    pub topics: Option<Arc<TopicRights>>,
    /// Channels that its sessions are subscribed to at connect.
    pub channels: Box<[Channel]>,
    /// The channel for which an application has signed. It counts as listed, for subscribing and for publishing.
    pub signed: Option<Channel>,
    /// When its sessions end: at `exp`, or a leeway later if `exp` had passed when it was checked. None:
    /// never, which needs `auth.require_expiry = false`.
    pub ends_at: Option<SystemTime>,
    /// The claim `iat`.
    pub issued_at: Option<SystemTime>,
}
