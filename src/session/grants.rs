//! What an application has signed about the channels of a session.

use std::collections::HashMap;
use std::sync::Arc;

use crate::auth::Identity;
use crate::protocol::Grant;
use crate::publication::Channel;

/// The channels for which an application has signed: at most as many as the session may have channels.
#[derive(Default)]
pub struct Grants(HashMap<Channel, GrantedChannel>);

struct GrantedChannel {
    identity: Arc<Identity>,
    is_member: bool,
}

impl Grants {
    /// `principal`: the identity of the session. Its user is that of a grant that names none.
    pub fn add(&mut self, channel: &Channel, grant: &Grant, principal: Option<&Arc<Identity>>) {
        let identity = Arc::new(Self::identity(channel, grant, principal));
        let granted = GrantedChannel { identity, is_member: grant.is_member };
        self.0.insert(channel.clone(), granted);
    }

    pub fn remove(&mut self, channel: &Channel) {
        self.0.remove(channel);
        self.0.shrink_to_fit();
    }

    /// The identity of the session on the channel. None: the application has not signed for it.
    pub fn of(&self, channel: &Channel) -> Option<&Identity> {
        self.0.get(channel).map(|granted| &*granted.identity)
    }

    pub fn is_member(&self, channel: &Channel) -> bool {
        self.0.get(channel).is_some_and(|granted| granted.is_member)
    }

    /// A signature counts as a token that lists the channel, for subscribing and for publishing.
    pub fn identity(
        channel: &Channel,
        grant: &Grant,
        principal: Option<&Arc<Identity>>,
    ) -> Identity {
        let of_principal = || principal.and_then(|identity| identity.user.clone());
        Identity {
            user: grant.user.clone().or_else(of_principal),
            info: grant.info.clone(),
            signed: Some(channel.clone()),
            ..Identity::default()
        }
    }
}
