//! TLS handshakes: versions, ALPN, failures and limits.

use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use testkit::authority::Authority;
use testkit::client::{Client, Error};
use testkit::http::connect;
use testkit::raw::{RawClient, upgrade};
use testkit::tls_client::TlsClient;
use testkit::{eventually, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{node, tls_refusals};

#[tokio::test]
async fn a_node_accepts_tls_1_2_and_tls_1_3() {
    let authority = Authority::create();
    let node = node(&authority, &[]).await;
    for (version, expected) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let trusting = TlsClient::new(&authority).with_version(version);
        let stream = trusting.connect(node.public).await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        let mut client = trusting.plain(&node, "news").await;
        client.send("héllo").await;
        assert_eq!(client.receive_text().await, "héllo");
        client.close().await;
    }
    assert_eq!(tls_refusals(&node).await, 0.);
}

#[tokio::test]
async fn alpn_selects_http_2_before_http_1_1_and_refuses_clients_that_offer_only_others() {
    let authority = Authority::create();
    let node = node(&authority, &[]).await;
    let trusting = TlsClient::new(&authority);
    for (offered, selected) in [
        (&["http/1.1", "h2"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h3"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = trusting.clone().with_alpn(offered).connect(node.public).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), selected);
    }
    let refusal = trusting.with_alpn(&["h3"]).try_connect(node.public).await.unwrap_err();
    assert!(refusal.to_string().contains("NoApplicationProtocol"), "{refusal}");
    eventually("the refusal to be counted", async || {
        (tls_refusals(&node).await == 1.).then_some(())
    })
    .await;
}

#[tokio::test]
async fn plain_http_on_a_tls_listener_is_cut_off_and_counted() {
    let authority = Authority::create();
    let node = node(&authority, &[]).await;
    let mut raw = RawClient::connect(&node).await;
    raw.send(upgrade("/ws/news", "")).await;
    let answer = raw.read_to_end().await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    eventually("the refusal to be counted", async || {
        (tls_refusals(&node).await == 1.).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_tls_handshake_that_exceeds_its_timeout_is_cut_off_and_counted() {
    let authority = Authority::create();
    let node = node(&authority, &["server.handshake_timeout=300ms"]).await;
    let mut silent = RawClient::connect(&node).await;
    let mut halfway = RawClient::connect(&node).await;
    // The header of a handshake record, and the first bytes of its content.
    halfway.send([0x16, 3, 1, 2, 0, 1, 0, 1]).await;
    silent.read_to_end().await;
    halfway.read_to_end().await;
    // The node counts a handshake after it has closed the socket.
    eventually("both handshakes to be counted", async || {
        (tls_refusals(&node).await == 2.).then_some(())
    })
    .await;

    // After the TLS handshake, the request has a timeout of its own.
    let mut stream = TlsClient::new(&authority).connect(node.public).await;
    let mut nothing = Vec::new();
    // The connection may end with or without a TLS close_notify.
    let _ = soon("the end of the stream", stream.read_to_end(&mut nothing)).await;
    assert!(nothing.is_empty());
    assert_eq!(tls_refusals(&node).await, 2.);
    let rejected = r#"tidegate_rejected_total{reason="handshake"}"#;
    eventually("the refusal to be counted", async || {
        (node.metric(rejected).await == 1.).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_above_a_limit_get_an_http_error_over_tls() {
    for (limit, status) in [("connections_max", 503), ("connections_per_ip", 429)] {
        let authority = Authority::create();
        let node = node(&authority, &[&format!("limits.{limit}=1")]).await;
        let trusting = TlsClient::new(&authority);
        let mut client = trusting.plain(&node, "news").await;
        let stream = trusting.connect(node.public).await;
        match Client::try_over(stream, node.public, "/ws/news").await.err() {
            Some(Error::Http(answer)) => assert_eq!(answer.status(), status),
            other => panic!("{other:?}"),
        }
        client.send("still here").await;
        assert_eq!(client.receive_text().await, "still here");
        assert_eq!(tls_refusals(&node).await, 0.);
    }
}

#[tokio::test]
async fn a_connection_above_the_handshake_rate_is_cut_off_before_the_tls_handshake() {
    const RATE: &str = r#"tidegate_rejected_total{reason="handshake_rate"}"#;
    let authority = Authority::create();
    let node = node(&authority, &["limits.handshakes_per_second=1"]).await;
    let trusting = TlsClient::new(&authority);
    eventually("a connection to be refused", async || {
        trusting.try_connect(node.public).await.is_err().then_some(())
    })
    .await;
    assert!(node.metric(RATE).await >= 1.);
}

#[tokio::test]
async fn a_tls_handshake_follows_the_proxy_header() {
    let authority = Authority::create();
    let node = node(&authority, &["server.proxy_protocol=true"]).await;
    let trusting = TlsClient::new(&authority);
    let mut stream = connect(node.public).await;
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n";
    stream.write_all(header).await.expect("the header is sent");
    let stream = trusting.handshake(stream).await.expect("the handshake succeeds");
    let client = Client::try_over(stream, node.public, "/ws/news").await;
    let mut client = client.expect("the upgrade is accepted");
    client.send("through a balancer").await;
    assert_eq!(client.receive_text().await, "through a balancer");
}
