//! What a token says of its bearer, once it has been checked.

use std::time::SystemTime;

use crate::publication::{Channel, User};
use crate::rules::Pattern;

/// Whom a session belongs to, and what the token lists for it.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The claim `sub`. None: the token names nobody.
    pub user: User,
    /// Channels it lists for subscribing; `{user}` in them is the user.
    pub subscribe: Box<[Pattern]>,
    /// Channels it lists for publishing.
    pub publish: Box<[Pattern]>,
    /// Channels that its bearer is subscribed to at connect.
    pub channels: Box<[Channel]>,
    /// When its sessions end: at `exp`, or a leeway later where that had passed at the check. None:
    /// never, which needs `auth.require_expiry = false`.
    pub ends_at: Option<SystemTime>,
    /// The claim `iat`.
    pub issued_at: Option<SystemTime>,
}
