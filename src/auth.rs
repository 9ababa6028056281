//! Who may connect: tokens, the keys they are checked with, and what they let their bearer do.

pub mod access;
mod identity;

use std::net::SocketAddr;

pub use identity::Identity;

use crate::settings::Settings;

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

    /// How long a stranger has to show a token where nothing is for strangers.
    pub fn timeout(&self) -> std::time::Duration {
        std::time::Duration::from_secs(10)
    }

    /// Whose token it is, and what it lets its bearer do. Waits a bounded time for keys that have
    /// not been fetched.
    pub async fn identify(&self, _token: &str) -> Result<Identity, Refused> {
        Err(Refused("this node takes no tokens: auth.mode is none"))
    }

    /// From here on tokens are checked by this configuration.
    pub fn replace(&self, _config: &Config) {}
}
