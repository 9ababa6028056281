//! The host that an origin is compared with behind a proxy that changes the Host header.

use testkit::node::Node;

use super::status_from;

const PROXY: &str = "127.0.0.2";
const PAGE: &str = "Origin: https://www.example\r\n";

#[tokio::test]
async fn an_origin_is_compared_with_the_x_forwarded_host_of_a_trusted_proxy() {
    let node = Node::standalone(&["server.trusted_proxies=127.0.0.2"]).await;
    for (from, more, status) in [
        (PROXY, "X-Forwarded-Host: www.example\r\n", 101),
        (PROXY, "X-Forwarded-Host: WWW.example:443, inner.example\r\n", 101),
        (PROXY, "X-Forwarded-Host: inner.example, www.example\r\n", 403),
        (PROXY, "", 403),
        ("127.0.0.3", "X-Forwarded-Host: www.example\r\n", 403),
    ] {
        assert_eq!(
            status_from(&node, from, &format!("{PAGE}{more}")).await,
            status,
            "{from} {more}"
        );
    }
    assert_eq!(status_from(&node, PROXY, "Origin: http://gateway\r\n").await, 101);
}
