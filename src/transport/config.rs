//! The settings of the public listener.

use std::time::Duration;

use super::networks::{self, Networks};
use super::origin::{self, Origins};
use crate::settings::{ListenAddress, Settings};
use crate::tls;

/// The `[server]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: ListenAddress,
    pub origins: Origins,
    /// The peers whose forwarding headers count.
    pub trusted_proxies: Networks,
    pub proxy_protocol: bool,
    pub handshake_timeout: Duration,
    pub http2: bool,
    /// Of one HTTP/2 connection, at the same time.
    pub http2_streams_max: usize,
    /// None: the listener does not use TLS.
    pub tls: Option<tls::TlsServer>,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("server");
        let listen = section.address("listen", "127.0.0.1:8080", "The public listener.");
        let origins = section.list(
            "origins",
            "a list of hosts, such as example.com, *.example.com or https://example.com:8443, or \"*\"",
            origin::is_pattern,
            "Hosts whose pages may connect. Pages of the same host and port always may; where `listen` \
             is loopback, pages of loopback hosts on any port may too, and pages of no other name. \
             `*` allows every page. Clients that are not browsers send no origin and are not checked.",
        );
        let trusted_proxies = section.list(
            "trusted_proxies",
            "a list of IP addresses and CIDR networks, such as 10.0.0.0/8 or 2001:db8::1",
            networks::is_network,
            "Proxies whose `X-Forwarded-For` and `X-Forwarded-Host` the node trusts. Only they may send a \
             PROXY header.",
        );
        let proxy_protocol = section.flag(
            "proxy_protocol",
            Some(false),
            "Every connection begins with a PROXY header, version 1 or 2, as a TCP balancer sends \
             it. Without `trusted_proxies` the node trusts the header of any peer.",
        );
        let handshake_timeout = section.duration(
            "handshake_timeout",
            "10s",
            Duration::from_millis(100)..=Duration::from_secs(600),
            "A connection whose complete request has not arrived within this time is closed. For the \
             first request, the time includes TLS and a PROXY header; for later ones it begins with \
             their first byte.",
        );
        let http2 = section.flag(
            "http2",
            Some(true),
            "Whether clients may use HTTP/2: those that offer `h2` in the TLS handshake (ALPN), and without TLS \
             those that begin with its preface, such as proxies.",
        );
        let http2 = http2.unwrap_or_default();
        let http2_streams_max = section.number(
            "http2_streams_max",
            128,
            1..=10_000,
            "The most requests and sessions of one HTTP/2 connection at the same time. Clients keep further \
             requests back or open another connection. Each may cost 48 KiB of memory if the client misuses \
             it.",
        );
        let alpn = if http2 { tls::HTTP_2_AND_1 } else { tls::HTTP_1 };
        let tls = tls::TlsServer::read(&mut section, alpn);
        Self {
            listen,
            origins: Origins::new(&origins),
            trusted_proxies: Networks::new(&trusted_proxies),
            proxy_protocol: proxy_protocol.unwrap_or_default(),
            handshake_timeout,
            http2,
            http2_streams_max,
            tls,
        }
    }
}
