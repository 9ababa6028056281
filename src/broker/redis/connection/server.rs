//! A Redis server: its address, the trusted certificate authorities, and the login.

use std::fmt;
use std::sync::Arc;

use ::redis::RedisConnectionInfo;

use crate::tls::Trust;

/// Host name or IP address, and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerAddress {
    pub host: Arc<str>,
    pub port: u16,
}

impl ServerAddress {
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

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A server of the deployment.
#[derive(Clone)]
pub struct RedisServer {
    pub address: ServerAddress,
    pub login: RedisConnectionInfo,
    /// The trusted certificate authorities. `None`: connections without TLS.
    pub trust: Option<Trust>,
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_addresses_are_displayed_as_parsed() {
        for text in ["redis.example:7000", "127.0.0.1:1", "[::1]:26379"] {
            assert_eq!(ServerAddress::parse(text, 1).unwrap().to_string(), text);
        }
        assert_eq!(ServerAddress::parse("host", 26379), Some(ServerAddress::new("host", 26379)));
        assert_eq!(ServerAddress::parse("[::1]", 6379), Some(ServerAddress::new("::1", 6379)));
        for bad in ["", ":1", "host:", "host:x", "host:70000", "::1", "[::1", "[::1]x", "a b"] {
            assert_eq!(ServerAddress::parse(bad, 1), None, "{bad:?}");
        }
    }
}
