//! The client's address: the peer of its connection, or the address that a trusted proxy reports.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HeaderName;

use super::networks::Networks;
use super::proxy_header::ProxyHeader;

/// Each proxy appends the address of its own peer.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    address: IpAddr,
    /// Whether it is a trusted proxy, so that its `X-Forwarded-*` headers count.
    is_proxy: bool,
}

impl Peer {
    /// The peer of an accepted socket.
    pub fn of_socket(address: IpAddr, proxies: &Networks) -> Self {
        let address = address.to_canonical();
        Self { address, is_proxy: proxies.contain(address) }
    }

    /// The peer behind a socket that began with a PROXY header. The balancer that wrote the header passes
    /// HTTP through unchanged, so HTTP headers count only if the reported client is a trusted proxy itself.
    pub fn behind(self, header: ProxyHeader, proxies: &Networks) -> Self {
        match header {
            ProxyHeader::Client(client) => Self::of_socket(client, proxies),
            ProxyHeader::NoClient => Self { is_proxy: false, ..self },
        }
    }

    pub fn is_proxy(self) -> bool {
        self.is_proxy
    }

    /// The client's address. None: each request reports it.
    pub fn client(self) -> Option<IpAddr> {
        (!self.is_proxy).then_some(self.address)
    }

    /// The client's address according to a request's headers: from the right, the first address that is not a
    /// trusted proxy. Entries left of it, or left of one that is not an address, may be forged.
    pub fn client_of(self, headers: &HeaderMap, proxies: &Networks) -> IpAddr {
        let mut client = self.address;
        if !self.is_proxy {
            return client;
        }
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for entry in entries {
            let Some(named) = address(entry) else { break };
            client = named;
            if !proxies.contain(named) {
                break;
            }
        }
        client
    }
}

/// Parses `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || entry.parse().ok().map(|address: SocketAddr| address.ip());
    let plain = entry.parse().ok();
    plain.or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Networks {
        Networks::new(&["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()])
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let peer = Peer::of_socket(peer.parse().unwrap(), &proxies());
        let client = peer.client_of(&headers, &proxies());
        assert!(peer.client().is_none_or(|known| known == client));
        client.to_string()
    }

    #[test]
    fn forwarding_headers_of_an_untrusted_peer_are_ignored() {
        assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_reports_the_client_and_earlier_proxies() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.1, 10.0.0.2,fd00::1"]), "192.0.2.1");
        // The client wrote the leftmost entry.
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 192.0.2.1 , 10.0.0.2"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "192.0.2.1", "10.0.0.2"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn an_invalid_forwarded_entry_stops_at_the_last_valid_address() {
        for garbage in [
            "unknown",
            "_hidden",
            "",
            "1.2.3",
            "1.2.3.4:x",
            "1.2.3.4:99999",
            "[::1",
            "::1%eth0",
            "\u{e4}",
        ] {
            let line = format!("192.0.2.1, {garbage}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &[&line]), "10.0.0.2", "{garbage}");
            assert_eq!(client("10.0.0.1", &[garbage]), "10.0.0.1", "{garbage}");
        }
    }

    #[test]
    fn forwarded_addresses_may_have_ports_and_brackets() {
        for (entry, address) in [
            ("192.0.2.1:55", "192.0.2.1"),
            ("[2001:db8::1]:5", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[entry]), address);
        }
    }

    #[test]
    fn a_client_reported_by_a_proxy_header_cannot_report_another() {
        let balancer = Peer::of_socket("10.0.0.1".parse().unwrap(), &proxies());
        let client = "192.0.2.1".parse().unwrap();
        assert_eq!(balancer.behind(ProxyHeader::Client(client), &proxies()).client(), Some(client));
        assert_eq!(
            balancer.behind(ProxyHeader::NoClient, &proxies()).client(),
            Some(balancer.address)
        );
        let proxy = ProxyHeader::Client("10.0.0.2".parse().unwrap());
        assert_eq!(balancer.behind(proxy, &proxies()).client(), None);
    }

    proptest::proptest! {
        /// Whatever a client sends, its address is the one that the trusted proxy appended.
        #[test]
        fn a_client_cannot_choose_its_address(sent in proptest::collection::vec("[ -~]{0,40}", 0..4)) {
            let mut lines: Vec<&str> = sent.iter().map(String::as_str).collect();
            lines.push("192.0.2.1");
            assert_eq!(client("10.0.0.1", &lines), "192.0.2.1");
            let line = format!("{},192.0.2.1", sent.join(","));
            assert_eq!(client("10.0.0.1", &[&line]), "192.0.2.1");
        }
    }
}
