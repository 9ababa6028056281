//! What a session does when its client opens it with a message of the protocol.

use super::Session;
use crate::close::Close;
use crate::protocol::{Code, Id, Reply, ReplyError, Speak, Token};

/// Of a client that has sent no token and needs one.
const NO_TOKEN: &str = "this node needs a token";

impl Session {
    /// Opens the session, with the token if the node takes any. A refused one closes the connection, if the protocol ends it.
    pub(super) fn connect(&mut self, id: Option<Id>, token: Option<Token>) {
        match token.filter(|_| self.context.auth.is_on()) {
            Some(token) => self.authenticate(id, token),
            None if self.needs_token() => {
                let (code, message) = (Code::Unauthorized, NO_TOKEN.to_owned());
                let error = ReplyError { id, channel: None, code, message };
                let refused = self.state.protocol().refuse(error, Close::Unauthorized(NO_TOKEN));
                self.reply_or_close(refused);
            }
            None => self.reply(&Reply::Connected { id }),
        }
    }

    /// Whether an anonymous session may not stay.
    fn needs_token(&self) -> bool {
        self.state.principal().identity().is_none()
            && self.context.anonymous_timeout(true).is_some()
    }
}
