//! `server.proxy_protocol`: a TCP balancer sends the client's address in a PROXY header.

use testkit::eventually;
use testkit::node::Node;
use testkit::raw::{RawClient, text, upgrade};

use super::rejected;

const ON: &str = "server.proxy_protocol=true";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn line(last: u8) -> Vec<u8> {
    format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 51234 443\r\n").into()
}

/// A header of version 2 with a TLV behind the addresses.
fn block(last: u8) -> Vec<u8> {
    let addresses = [192, 0, 2, last, 198, 51, 100, 1, 200, 0, 1, 187];
    [SIGNATURE, &[0x21, 0x11, 0, 17], &addresses, &[4, 0, 2, 0, 0]].concat()
}

/// The status of an upgrade behind a header.
async fn status(node: &Node, from: &str, header: &[u8], more: &str) -> u16 {
    let mut raw = RawClient::connect_from(node, from).await;
    let _ = raw.try_send([header, upgrade("/ws/news", more).as_bytes()].concat()).await;
    raw.response().await.status
}

#[tokio::test]
async fn a_proxy_header_identifies_the_client() {
    let node = Node::standalone(&[ON, "limits.handshakes_per_second_per_ip=1"]).await;
    let v6 = |last: u8| format!("PROXY TCP6 2001:db8::{last}:1:1:1:1 ::1 51234 443\r\n");
    for (number, (first, second)) in
        [(line(1), block(1)), (block(2), line(2)), (v6(1).into(), v6(1).into())].iter().enumerate()
    {
        assert_eq!(status(&node, "127.0.0.2", first, "").await, 101, "{number}");
        assert_eq!(status(&node, "127.0.0.2", second, "").await, 429, "{number}");
    }
    // Headers for the balancer's own and for unknown connections identify the balancer as the client.
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    assert_eq!(status(&node, "127.0.0.3", b"PROXY UNKNOWN\r\n", "").await, 101);
    assert_eq!(status(&node, "127.0.0.3", &local, "").await, 429);
}

#[tokio::test]
async fn bytes_behind_a_proxy_header_are_not_lost_wherever_it_is_split() {
    let node = Node::standalone(&[ON]).await;
    for header in [line(1), block(1)] {
        let all = [&header[..], upgrade("/ws/news", "").as_bytes(), &text("early")].concat();
        for cut in [1, 11, 12, 13, 16, 20, header.len() - 1, header.len(), header.len() + 1] {
            let mut raw = RawClient::connect(&node).await;
            raw.send(&all[..cut]).await;
            raw.send(&all[cut..]).await;
            assert_eq!(raw.response().await.status, 101, "cut at {cut}");
            raw.expect_text("early").await;
        }
    }
}

#[tokio::test]
async fn a_connection_without_a_valid_proxy_header_is_closed() {
    let node = Node::standalone(&[ON]).await;
    let too_long = [SIGNATURE, &[0x21, 0x11, 0xFF, 0xFF], &[0; 2000]].concat();
    let garbage: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PROXY TCP4 garbage\r\n",
        b"\0",
        &[SIGNATURE, &[0x11, 0x11, 0, 12], &[0; 12]].concat(),
        &[&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
        &too_long,
    ];
    for bytes in garbage {
        let mut raw = RawClient::connect(&node).await;
        let _ = raw.try_send(bytes).await;
        assert!(raw.read_to_end().await.is_empty());
    }
    node.wait_for_metric(&rejected("proxy_protocol"), garbage.len() as f64).await;
    assert_eq!(status(&node, "127.0.0.2", &line(1), "").await, 101);
}

#[tokio::test]
async fn a_proxy_header_that_exceeds_the_handshake_timeout_is_cut_off() {
    let node = Node::standalone(&[ON, "server.handshake_timeout=500ms"]).await;
    for sent in [&b""[..], b"P", &SIGNATURE[..5], b"PROXY TCP4 192.0.2.1"] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(sent).await;
        assert!(raw.read_to_end().await.is_empty());
    }
    // One byte at a time does not help either.
    let mut raw = RawClient::connect(&node).await;
    let mut bytes = b"PROXY UNKNOWN ".iter().chain(std::iter::repeat(&b'x'));
    let mut sent = 0;
    eventually("a byte that cannot be written", async || {
        sent += 1;
        // Slow enough that the timeout ends before the longest allowed line is complete.
        let byte = if sent % 2 == 0 { bytes.next() } else { None };
        let byte = byte.map(|byte| vec![*byte]).unwrap_or_default();
        raw.try_send(byte).await.is_err().then_some(())
    })
    .await;
    assert_eq!(node.metric(&rejected("proxy_protocol")).await, 5.);
    // Header and request share one timeout.
    let mut raw = RawClient::connect(&node).await;
    raw.send(line(1)).await;
    raw.read_to_end().await;
}

#[tokio::test]
async fn a_proxy_header_from_an_untrusted_address_is_refused() {
    let settings =
        [ON, "server.trusted_proxies=127.0.0.2", "limits.handshakes_per_second_per_ip=1"];
    let node = Node::standalone(&settings).await;
    let mut untrusted = RawClient::connect_from(&node, "127.0.0.3").await;
    let _ = untrusted.try_send(line(1)).await;
    assert!(untrusted.read_to_end().await.is_empty());
    assert_eq!(node.metric(&rejected("proxy_protocol")).await, 1.);
    // The client wrote the X-Forwarded-For that the balancer passes on, so it is ignored.
    let more = "X-Forwarded-For: 198.51.100.1\r\n";
    assert_eq!(status(&node, "127.0.0.2", &line(1), more).await, 101);
    assert_eq!(status(&node, "127.0.0.2", &line(2), more).await, 101);
    assert_eq!(status(&node, "127.0.0.2", &line(2), "").await, 429);
    // X-Forwarded-For counts where the PROXY header names a trusted proxy.
    let proxy = b"PROXY TCP4 127.0.0.2 198.51.100.1 51234 443\r\n";
    assert_eq!(status(&node, "127.0.0.2", proxy, more).await, 101);
    assert_eq!(status(&node, "127.0.0.2", proxy, more).await, 429);
}
