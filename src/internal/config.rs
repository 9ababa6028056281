//! The `[internal]` section: all of it, and what a command needs of it to reach the listener.

use crate::settings::{ListenAddress, Section, Settings};
use crate::tls;

/// The `[internal]` section.
#[derive(Clone)]
pub struct Config {
    pub listen: ListenAddress,
    pub api_key: Option<String>,
    /// None: callers come without TLS.
    pub tls: Option<tls::TlsServer>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("internal");
        Self {
            listen: listen(&mut section),
            api_key: api_key(&mut section),
            tls: tls::TlsServer::read(&mut section),
        }
    }
}

/// How a command on the same host reaches the internal listener.
pub struct Entrance {
    pub listen: ListenAddress,
    /// What opens `/api`. None: nothing does, or it is not asked for anything there.
    pub api_key: Option<String>,
    pub tls: Option<tls::Files>,
}

impl Entrance {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("internal");
        Self { listen: listen(&mut section), api_key: None, tls: tls::Files::read(&mut section) }
    }

    pub fn with_api_key(self, settings: &mut Settings) -> Self {
        Self { api_key: api_key(&mut settings.section("internal")), ..self }
    }
}

fn api_key(section: &mut Section<'_>) -> Option<String> {
    section.parsed(
        "api_key",
        None,
        "1 to 255 visible ASCII characters",
        |key| {
            let fits = (1..=255).contains(&key.len());
            (fits && key.bytes().all(|b| b.is_ascii_graphic())).then(|| key.to_owned())
        },
        |_| "***".to_owned(),
        "Requests to `/api` must carry it as `Authorization: Bearer`. Not set: they need none.",
    )
}

fn listen(section: &mut Section<'_>) -> ListenAddress {
    section.address(
        "listen",
        "127.0.0.1:9090",
        "The internal listener: health, metrics, API. Not for the public.",
    )
}
