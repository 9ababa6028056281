//! The command with which a session becomes that of a user for whom an application has signed.

use std::sync::Arc;
use std::time::SystemTime;

use super::Session;
use super::rights::{PrincipalRefused, admit};
use crate::auth::Identity;
use crate::protocol::{Id, Reply, ReplyError};
use crate::publication::UserInfo;
use crate::telemetry;

impl Session {
    /// The user counts as that of a token issued now that gives no rights, so the limit for a user's connections applies,
    /// and the session ends when the user is disconnected.
    pub(super) fn sign_in(&mut self, id: Option<Id>, user: Arc<str>, info: Option<UserInfo>) {
        let now = Some(SystemTime::now());
        let identity = Identity { user: Some(user), info, issued_at: now, ..Identity::default() };
        let before = self.state.principal().user();
        match admit(&self.context, &identity, &self.outbound, before) {
            Ok(entered) => self.set_identity(id, Arc::new(identity), entered),
            Err(refused) => self.refuse_to_sign_in(id, &refused),
        }
    }

    fn refuse_to_sign_in(&self, id: Option<Id>, refused: &PrincipalRefused) {
        telemetry::rejected(refused.reason(), refused);
        let (code, message) = (refused.code(), refused.to_string());
        self.reply(&Reply::Error(ReplyError { id, channel: None, code, message }));
    }
}
