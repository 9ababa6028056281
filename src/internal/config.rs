//! The `[internal]` section, and the part of it that a command needs to reach the listener.

use crate::settings::{ListenAddress, Section, Settings};
use crate::tls;

/// The `[internal]` section.
#[derive(Clone)]
pub struct Config {
    pub listen: ListenAddress,
    pub api_key: Option<String>,
    /// None: callers connect without TLS.
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
            tls: tls::TlsServer::read(&mut section, tls::HTTP_1),
        }
    }
}

/// How a command on the same host reaches the internal listener.
pub struct ApiEndpoint {
    pub listen: ListenAddress,
    /// The key for `/api`. None: none is set, or the command does not call `/api`.
    pub api_key: Option<String>,
    pub tls: Option<tls::Files>,
}

impl ApiEndpoint {
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
        "Requests to `/api` must send this key as `Authorization: Bearer`. If not set, they need none.",
    )
}

fn listen(section: &mut Section<'_>) -> ListenAddress {
    section.address(
        "listen",
        "127.0.0.1:9090",
        "The address of the internal listener: health, metrics, API. Must not be public.",
    )
}
