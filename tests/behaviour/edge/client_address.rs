//! The address by which a node identifies a client, observed through a limit per address.

use testkit::node::Node;

use super::status_from;

const LIMITED: &str = "limits.handshakes_per_second_per_ip=1";
const PROXY: &str = "127.0.0.2";

/// Whether a new node counts both requests for the same client.
async fn count_as_one(proxies: &str, first: (&str, &str), second: (&str, &str)) -> bool {
    let proxies = format!("server.trusted_proxies={proxies}");
    let node = Node::standalone(&[LIMITED, &proxies]).await;
    let mut last = 101;
    for (from, more) in [first, second] {
        assert_eq!(last, 101, "the first request must be accepted");
        last = status_from(&node, from, more).await;
    }
    match last {
        101 => false,
        429 => true,
        other => panic!("answered {other}"),
    }
}

#[tokio::test]
async fn x_forwarded_for_from_an_untrusted_address_is_ignored() {
    let spoofed = |last| format!("X-Forwarded-For: 192.0.2.{last}\r\n");
    let (one, two) = (spoofed(1), spoofed(2));
    for proxies in ["", "10.0.0.0/8"] {
        assert!(count_as_one(proxies, ("127.0.0.3", &one), ("127.0.0.3", &two)).await);
        assert!(!count_as_one(proxies, ("127.0.0.3", &one), ("127.0.0.4", &one)).await);
    }
}

#[tokio::test]
async fn x_forwarded_for_from_a_trusted_proxy_identifies_the_client() {
    for (first, second, same) in [
        ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("192.0.2.1:1000", "192.0.2.1:2000", true),
        ("[2001:db8::1]:5", "2001:db8::ffff", true),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        // The entries before the last untrusted address were written by that client and are ignored.
        ("198.51.100.1, 192.0.2.1", "198.51.100.2, 192.0.2.1", true),
        ("192.0.2.1, 127.0.0.9", "192.0.2.1", true),
        ("192.0.2.1\r\nX-Forwarded-For: 127.0.0.9", "192.0.2.1", true),
        ("192.0.2.1, garbage", "192.0.2.2, garbage", true),
    ] {
        let line = |entries| format!("X-Forwarded-For: {entries}\r\n");
        let (first, second) = (line(first), line(second));
        let count_as_one = count_as_one("127.0.0.0/8", (PROXY, &first), (PROXY, &second)).await;
        assert_eq!(count_as_one, same, "{first} {second}");
    }
}

#[tokio::test]
async fn requests_on_one_proxy_connection_are_counted_by_their_own_x_forwarded_for() {
    use testkit::raw::{RawClient, upgrade};
    let node = Node::standalone(&[LIMITED, "server.trusted_proxies=127.0.0.2"]).await;
    let mut proxy = RawClient::connect_from(&node, PROXY).await;
    for (client, status) in [(1, 404), (2, 404), (1, 429)] {
        let more = format!("X-Forwarded-For: 192.0.2.{client}\r\n");
        proxy.send(upgrade("/nothing", &more)).await;
        assert_eq!(proxy.response().await.status, status, "client {client}");
    }
}
