//! What a session of the protocol keeps: its application and socket id, its user, and the channels for which the
//! application has signed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::members::{HeldChanges, LateChanges, MemberMark};
use super::signed::UserData;
use crate::apps::App;
use crate::protocol::SharedMembers;
use crate::publication::{Channel, NodeId, SessionId, UserInfo};

/// Shared by the protocol, which reads messages and writes replies, and the stamp, which completes what tells of members.
#[derive(Debug)]
pub struct PusherSession {
    /// None: the session is closed at its start.
    app: Option<Arc<App>>,
    /// None before the session begins.
    session: Option<SessionId>,
    state: Mutex<SignedState>,
}

#[derive(Debug, Default)]
struct SignedState {
    user: Option<Box<SignedUser>>,
    /// At most as many as a session may have channels.
    channels: HashMap<Channel, SignedChannel>,
}

/// The user of a session that has signed in.
#[derive(Clone, Debug)]
pub struct SignedUser {
    pub id: Arc<str>,
    pub info: Option<UserInfo>,
    /// What the application has signed, until the client is told.
    data: Option<Box<str>>,
    /// Whether the application has named users of whom the client wants to hear.
    has_watchlist: bool,
    /// Whether the session has the user's identity.
    is_admitted: bool,
}

/// A channel for which the application has signed.
#[derive(Debug, Default)]
struct SignedChannel {
    is_subscribed: bool,
    /// Who the session is to the members. None: the channel has none.
    member: Option<Arc<str>>,
    /// The changes that came before the list of members.
    held: Option<Box<HeldChanges>>,
    /// The list that is queued for the client.
    list: Option<Arc<SharedMembers>>,
    /// The list that the client has got, while changes that it contains may still come.
    late: Option<Box<LateChanges>>,
}

impl SignedChannel {
    /// Whether the client does not know of the change from its list.
    fn is_news(&mut self, user: &str, mark: MemberMark) -> bool {
        let news = self.late.as_mut().and_then(|late| late.is_news(user, mark));
        news.unwrap_or_else(|| {
            self.late = None;
            true
        })
    }
}

impl PartialEq for PusherSession {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for PusherSession {}

/// The id of a session as the protocol writes it: two numbers joined by a dot.
pub fn socket_id(session: SessionId) -> String {
    format!("{}.{}", session.node.number(), session.number)
}

/// The session of a socket id. None: no node has made it.
pub fn session_of(socket_id: &str) -> Option<SessionId> {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (node, number) = socket_id.split_once('.').filter(|(a, b)| is_number(a) && is_number(b))?;
    Some(SessionId { node: NodeId::of_number(node.parse().ok()?)?, number: number.parse().ok()? })
}

impl PusherSession {
    pub fn new(app: Option<Arc<App>>) -> Self {
        Self { app, session: None, state: Mutex::default() }
    }

    pub fn begin(self: &mut Arc<Self>, session: SessionId) {
        if let Some(this) = Arc::get_mut(self) {
            this.session = Some(session);
        }
    }

    pub fn app(&self) -> Option<&App> {
        self.app.as_deref()
    }

    pub fn socket_id(&self) -> String {
        self.session.map(socket_id).unwrap_or_default()
    }

    /// A user for whom the application has signed, to be admitted. `data`: what it has signed.
    pub fn sign_in(&self, user: UserData, data: &str) {
        let UserData { id, info, has_watchlist } = user;
        let data = Some(data.into());
        let user = SignedUser { id, info, data, has_watchlist, is_admitted: false };
        self.lock().user = Some(Box::new(user));
    }

    /// The session has the identity of its user. Returns what the application has signed, and whether it names users to
    /// watch.
    pub fn signed_in(&self) -> Option<(Box<str>, bool)> {
        let mut state = self.lock();
        let user = state.user.as_mut()?;
        user.is_admitted = true;
        Some((user.data.take()?, user.has_watchlist))
    }

    /// The session cannot have the identity, and may sign in again.
    pub fn not_signed_in(&self) {
        self.lock().user = None;
    }

    /// The user, if the session has signed in.
    pub fn user(&self) -> Option<SignedUser> {
        let state = self.lock();
        state.user.as_deref().filter(|user| user.is_admitted).cloned()
    }

    /// Whether the session may not sign in again.
    pub fn has_user(&self) -> bool {
        self.lock().user.is_some()
    }

    /// Adds a channel for which the application has signed. `member`: who the session is among its members.
    pub fn request(&self, channel: &Channel, member: Option<Arc<str>>) {
        let held = member.is_some().then(Box::default);
        let signed = SignedChannel { member, held, ..SignedChannel::default() };
        self.lock().channels.insert(channel.clone(), signed);
    }

    /// Whether it has been added.
    pub fn has_requested(&self, channel: &Channel) -> bool {
        self.lock().channels.contains_key(channel)
    }

    pub fn subscribed(&self, channel: &Channel) {
        if let Some(signed) = self.lock().channels.get_mut(channel) {
            signed.is_subscribed = true;
        }
    }

    /// The session is a member of the channel, and the list of members is about to be queued.
    pub fn listed(&self, channel: &Channel, members: Arc<SharedMembers>) {
        if let Some(signed) = self.lock().channels.get_mut(channel) {
            signed.is_subscribed = true;
            signed.list = Some(members);
        }
    }

    /// The session is not subscribed to the channel, or not any more.
    pub fn not_subscribed(&self, channel: &str) {
        let mut state = self.lock();
        state.channels.remove(channel);
        state.channels.shrink_to_fit();
    }

    /// Whether the session is subscribed to a channel for which the application has signed.
    pub fn is_subscribed(&self, channel: &Channel) -> bool {
        self.lock().channels.get(channel).is_some_and(|signed| signed.is_subscribed)
    }

    /// The bytes that the client gets for a frame of the outbound queue. None: it gets none.
    pub fn stamped(&self, frame: Bytes) -> Option<Bytes> {
        let Some(mark) = MemberMark::of(&frame) else { return Some(frame) };
        let parts = MemberMark::parts(&frame)?;
        let mut state = self.lock();
        let signed = state.channels.get_mut(parts.channel)?;
        let rest = frame.slice(parts.rest..);
        match mark {
            MemberMark::Listed => {
                let (held, list) = (signed.held.take(), signed.list.take());
                signed.late = list.as_ref().map(|list| Box::new(LateChanges::new(list)));
                Some(held.map_or(rest.clone(), |held| held.after(rest, list.as_deref())))
            }
            MemberMark::Added | MemberMark::Removed => {
                if signed.member.as_deref() == Some(parts.user) {
                    return None;
                }
                match &mut signed.held {
                    Some(held) => {
                        held.add(parts.user, mark, rest);
                        None
                    }
                    None => signed.is_news(parts.user, mark).then_some(rest),
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, SignedState> {
        // A session that panicked while it held the lock has damaged only its own channels.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
