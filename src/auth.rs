//! Who may connect: tokens, the keys they are checked with, and what they let their bearer do.

mod identity;
mod revocations;

use std::net::SocketAddr;
use std::time::Duration;

pub use identity::Identity;
pub use revocations::{Revocations, is_until, unix_millis};

use crate::settings::Settings;

/// How long a revocation is kept: longer than any token may live.
pub const REVOCATION_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do not: everyone may do everything.
    None,
}

/// The `[auth]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub mode: Mode,
}

impl Config {
    /// `listen`: the public listener. Beyond loopback an open node has to be asked for in so many
    /// words: nobody should find out from a stranger.
    pub fn read(settings: &mut Settings, listen: SocketAddr) -> Self {
        let mode = settings.section("auth").choice(
            "mode",
            "none",
            &[("none", Mode::None)],
            "How clients prove who they are. `none` lets everyone do everything; it is the default \
             on loopback and must be written out on any other address.",
        );
        if !listen.ip().is_loopback() && !settings.is_given("auth.mode") {
            settings.fault(
                "auth.mode",
                format!(
                    "server.listen = {listen} is reachable from elsewhere and nobody has to prove \
                     who they are; write auth.mode = \"none\" if that is meant"
                ),
            );
        }
        Self { mode }
    }
}

/// Why a token is not accepted; the text is for the client and quotes nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

/// Checks tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth;

impl Auth {
    /// Its tasks run on the current runtime.
    pub fn start(_config: &Config) -> Self {
        Self
    }

    /// Must clients prove who they are? With `auth.mode = "none"` there are no tokens.
    pub fn is_on(&self) -> bool {
        false
    }

    /// Whose token it is, and what it lets its bearer do. Waits a bounded time for keys that have
    /// not been fetched.
    pub async fn identify(&self, _token: &str) -> Result<Identity, Refused> {
        Err(Refused("this node takes no tokens: auth.mode is none"))
    }

    /// From here on tokens are checked by this configuration.
    pub fn replace(&self, _config: &Config) {}
}
