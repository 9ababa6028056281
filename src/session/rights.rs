//! Whether a session may have the identity of its token: token, revocation and `connections_per_user`.

use std::sync::Arc;

use super::SessionContext;
use super::state::code_of;
use super::users::{Entered, UserRefusal};
use crate::auth::access::Denied;
use crate::auth::{Identity, TokenRefused};
use crate::close::Close;
use crate::outbound::Outbound;
use crate::protocol::{Code, Id, Reply, ReplyError};
use crate::publication::{Channel, User};
use crate::telemetry::{self, Rejected};

/// Why a session cannot have the identity of its token.
#[derive(Debug, thiserror::Error)]
pub enum PrincipalRefused {
    #[error(transparent)]
    Token(TokenRefused),
    #[error("the token was revoked: get a new one")]
    Revoked,
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// The user has `limits.connections_per_user` sessions on this node.
#[derive(Debug, thiserror::Error)]
#[error("this user already has limits.connections_per_user connections to this node")]
pub struct TooMany;

impl PrincipalRefused {
    pub fn code(&self) -> Code {
        match self {
            Self::Token(TokenRefused::KEYS_UNAVAILABLE) => Code::Unavailable,
            Self::Token(_) | Self::Revoked => Code::Unauthorized,
            Self::TooMany(_) => Code::LimitReached,
        }
    }

    pub fn reason(&self) -> Rejected {
        match self {
            Self::Token(_) | Self::Revoked => Rejected::Token,
            Self::TooMany(_) => Rejected::ConnectionsPerUser,
        }
    }

    /// The close reason of a session that starts with such a token.
    pub fn close(&self) -> Close {
        match self {
            // The node cannot check the token, which may be valid.
            Self::Token(TokenRefused::KEYS_UNAVAILABLE) => Close::KeysUnavailable,
            Self::Token(refused) => Close::Unauthorized(refused.0),
            Self::Revoked => Close::Revoked,
            Self::TooMany(_) => Close::RateLimited,
        }
    }
}

/// Counts a session among those of the token's user. `before`: the session's user until now.
pub fn admit(
    context: &SessionContext,
    identity: &Identity,
    outbound: &Arc<Outbound>,
    before: User,
) -> Result<Option<Entered>, PrincipalRefused> {
    let limits = context.limits.get();
    let max = match limits.connections_per_user {
        // The session is counted for this user already; it enters again before its old entry is dropped.
        _ if before.is_some() && before == identity.user => usize::MAX,
        0 => usize::MAX,
        max => max,
    };
    let admitted = match context.users.admit(identity, outbound, max) {
        Err(UserRefusal::Full) if limits.dry_run => {
            telemetry::rejected(Rejected::ConnectionsPerUser, &TooMany);
            context.users.admit(identity, outbound, usize::MAX)
        }
        admitted => admitted,
    };
    admitted.map_err(|refusal| match refusal {
        UserRefusal::Revoked => PrincipalRefused::Revoked,
        UserRefusal::Full => PrincipalRefused::TooMany(TooMany),
    })
}

/// The error reply to a command that is denied on a channel.
pub fn denial(id: Option<Id>, channel: &Channel, denied: Denied) -> Reply {
    let (channel, code) = (Some(channel.to_string()), code_of(denied));
    Reply::Error(ReplyError { id, channel, code, message: denied.to_string() })
}
