//! A Redis server: where it is, whom it is trusted as, and how to log in.

use std::fmt;
use std::sync::Arc;

use ::redis::io::tcp::TcpSettings;
use ::redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    TlsCertificates,
};

use crate::tls::Trust;

/// Host name or IP address, and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    pub host: Arc<str>,
    pub port: u16,
}

impl Address {
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// `host`, `host:port`, `[::1]` or `[::1]:port`.
    pub fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().ok()?,
            None if port.is_empty() => default_port,
            None => return None,
        };
        let plain =
            !host.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#@,".contains(c));
        (plain && !host.is_empty()).then(|| Self::new(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A server of the deployment.
#[derive(Clone)]
pub struct Server {
    pub address: Address,
    pub login: RedisConnectionInfo,
    /// Whose word counts for who it is. None: it is spoken to without TLS.
    pub trust: Option<Trust>,
}

impl Server {
    /// As the crate wants it.
    pub fn client(&self) -> Client {
        let client = match &self.trust {
            None => Client::open(self.info()),
            Some(trust) => {
                let root_cert = trust.pem.as_deref().map(<[u8]>::to_vec);
                let certificates = TlsCertificates { client_tls: None, root_cert };
                Client::build_with_tls(self.info(), certificates)
            }
        };
        client.expect("a checked connection info opens, with certificates that were read before")
    }

    /// Without Nagle's algorithm.
    fn info(&self) -> ConnectionInfo {
        let (host, port) = (self.address.host.to_string(), self.address.port);
        let address = match &self.trust {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        let info = address.into_connection_info();
        info.expect("an address is a connection info")
            .set_redis_settings(self.login.clone())
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in ["redis.example:7000", "127.0.0.1:1", "[::1]:26379"] {
            assert_eq!(Address::parse(text, 1).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("host", 26379), Some(Address::new("host", 26379)));
        assert_eq!(Address::parse("[::1]", 6379), Some(Address::new("::1", 6379)));
        for bad in ["", ":1", "host:", "host:x", "host:70000", "::1", "[::1", "[::1]x", "a b"] {
            assert_eq!(Address::parse(bad, 1), None, "{bad:?}");
        }
    }
}
