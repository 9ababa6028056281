//! Who may connect. So far a node either listens on loopback or says openly that it lets anyone in.

use std::net::SocketAddr;

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
