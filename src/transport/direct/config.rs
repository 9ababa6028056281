//! The settings of a listener without HTTP.

use crate::settings::{ListenAddress, Settings};
use crate::tls;

/// The `[mqtt]` section.
#[derive(Clone, Debug)]
pub struct DirectConfig {
    /// None: there is no such listener.
    pub listen: Option<ListenAddress>,
    pub proxy_protocol: bool,
    /// None: the listener does not use TLS.
    pub tls: Option<tls::TlsServer>,
}

impl DirectConfig {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("mqtt");
        let listen = section.address_if_given(
            "listen",
            "The listener for MQTT over TCP, such as 127.0.0.1:1883. If not set, clients of MQTT connect to `/ws` only.",
        );
        let proxy_protocol = section.flag(
            "proxy_protocol",
            Some(false),
            "Every connection of this listener begins with a PROXY header, version 1 or 2, from a peer in \
             `server.trusted_proxies`, or from any peer if that is empty.",
        );
        let tls = tls::TlsServer::read(&mut section, tls::ANY);
        Self { listen, proxy_protocol: proxy_protocol.unwrap_or_default(), tls }
    }
}
