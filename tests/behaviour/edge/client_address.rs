//! Who a client is by address. It shows in whom a limit on addresses counts.

use testkit::node::Node;

use super::status_from;

const LIMITED: &str = "limits.handshakes_per_second_per_ip=1";
const PROXY: &str = "127.0.0.2";

/// Are both taken for the same client? Each pair of clients is of a node of its own.
async fn are_one(proxies: &str, first: (&str, &str), second: (&str, &str)) -> bool {
    let proxies = format!("server.trusted_proxies={proxies}");
    let node = Node::alone(&[LIMITED, &proxies]).await;
    let mut last = 101;
    for (from, more) in [first, second] {
        assert_eq!(last, 101, "the first is let in");
        last = status_from(&node, from, more).await;
    }
    match last {
        101 => false,
        429 => true,
        other => panic!("answered {other}"),
    }
}

#[tokio::test]
async fn a_stranger_cannot_say_it_is_somebody_else() {
    let spoofed = |last| format!("X-Forwarded-For: 192.0.2.{last}\r\n");
    let (one, two) = (spoofed(1), spoofed(2));
    for proxies in ["", "10.0.0.0/8"] {
        assert!(are_one(proxies, ("127.0.0.3", &one), ("127.0.0.3", &two)).await);
        assert!(!are_one(proxies, ("127.0.0.3", &one), ("127.0.0.4", &one)).await);
    }
}

#[tokio::test]
async fn a_trusted_proxy_brings_many() {
    for (first, second, same) in [
        ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("192.0.2.1:1000", "192.0.2.1:2000", true),
        ("[2001:db8::1]:5", "2001:db8::ffff", true),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        // What stands left of the first stranger is that stranger's own.
        ("198.51.100.1, 192.0.2.1", "198.51.100.2, 192.0.2.1", true),
        ("192.0.2.1, 127.0.0.9", "192.0.2.1", true),
        ("192.0.2.1\r\nX-Forwarded-For: 127.0.0.9", "192.0.2.1", true),
        ("192.0.2.1, garbage", "192.0.2.2, garbage", true),
    ] {
        let line = |entries| format!("X-Forwarded-For: {entries}\r\n");
        let (first, second) = (line(first), line(second));
        let are_one = are_one("127.0.0.0/8", (PROXY, &first), (PROXY, &second)).await;
        assert_eq!(are_one, same, "{first} {second}");
    }
}

#[tokio::test]
async fn one_connection_of_a_proxy_may_bring_several_clients() {
    use testkit::raw::{Raw, upgrade};
    let node = Node::alone(&[LIMITED, "server.trusted_proxies=127.0.0.2"]).await;
    let mut proxy = Raw::from(&node, PROXY).await;
    for (client, status) in [(1, 404), (2, 404), (1, 429)] {
        let more = format!("X-Forwarded-For: 192.0.2.{client}\r\n");
        proxy.send(upgrade("/nothing", &more)).await;
        assert_eq!(proxy.response().await.status, status, "client {client}");
    }
}
