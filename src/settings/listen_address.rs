//! The address of a listener, as operators write it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address to listen on: one socket, or one socket of each IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    Socket(SocketAddr),
    /// `localhost:8080`: loopback. Browsers try either family for that name.
    Localhost(u16),
    /// `:8080`: every address of the host.
    Everywhere(u16),
}

/// A text that is not an address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidListenAddress;

/// A listener that clients reach.
#[derive(Clone, Copy, Debug)]
pub struct ClientListener {
    /// The key of its address.
    pub key: &'static str,
    pub address: ListenAddress,
}

impl ClientListener {
    /// Whether other hosts reach it.
    pub fn is_exposed(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

impl ListenAddress {
    pub const ALLOWED: &str = "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080; \
        localhost:8080 is loopback, and :8080 every address of this host";

    /// The address that determines from where the listener is reachable.
    pub fn ip(self) -> IpAddr {
        self.first().ip()
    }

    pub fn port(self) -> u16 {
        self.first().port()
    }

    /// The socket to bind first: IPv4 if there are two families.
    pub fn first(self) -> SocketAddr {
        match self {
            Self::Socket(address) => address,
            Self::Localhost(port) => (Ipv4Addr::LOCALHOST, port).into(),
            Self::Everywhere(port) => (Ipv4Addr::UNSPECIFIED, port).into(),
        }
    }

    /// The second socket to bind, for IPv6 only.
    pub fn second(self) -> Option<SocketAddr> {
        match self {
            Self::Socket(_) => None,
            Self::Localhost(port) => Some((Ipv6Addr::LOCALHOST, port).into()),
            Self::Everywhere(port) => Some((Ipv6Addr::UNSPECIFIED, port).into()),
        }
    }

    /// Whether both would bind the same socket. Never true for port 0, which picks another port each time.
    pub fn is_also(self, other: Self) -> bool {
        let sockets = |it: Self| [Some(it.first()), it.second()].into_iter().flatten();
        self.port() != 0 && sockets(self).any(|socket| sockets(other).any(|it| it == socket))
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Socket(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidListenAddress)?;
        // Rejects `+80`, which `parse` would accept.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number).ok_or(InvalidListenAddress)?;
        match host {
            "" => Ok(Self::Everywhere(port)),
            host if host.eq_ignore_ascii_case("localhost") => Ok(Self::Localhost(port)),
            _ => Err(InvalidListenAddress),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => write!(f, "{address}"),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Everywhere(port) => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_round_trip_and_are_recognised_as_loopback() {
        for (text, is_loopback) in [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("localhost:8080", true),
            (":8080", false),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("192.0.2.1:8080", false),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!((address.ip().is_loopback(), address.port()), (is_loopback, 8080), "{text}");
        }
        for bad in ["", ":", "8080", "localhost", "localhost:", ":+80", ":65536", "example:80"] {
            assert_eq!(bad.parse::<ListenAddress>(), Err(InvalidListenAddress), "{bad:?}");
        }
    }

    #[test]
    fn two_addresses_are_the_same_where_they_share_a_socket() {
        let is_also = |one: &str, other: &str| {
            one.parse::<ListenAddress>().unwrap().is_also(other.parse().unwrap())
        };
        assert!(is_also("localhost:80", "127.0.0.1:80") && is_also("[::]:80", ":80"));
        assert!(!is_also("localhost:80", "127.0.0.1:81") && !is_also(":0", ":0"));
    }
}
