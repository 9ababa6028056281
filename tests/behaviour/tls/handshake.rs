//! Which handshakes succeed, and what becomes of those that do not.

use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use testkit::authority::Authority;
use testkit::client::{Client, Error};
use testkit::http::connect;
use testkit::raw::{RawClient, upgrade};
use testkit::tls_client::TlsClient;
use testkit::{eventually, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{node, refused};

#[tokio::test]
async fn both_versions_are_spoken() {
    let authority = Authority::create();
    let node = node(&authority, &[]).await;
    for (version, spoken) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let trusting = TlsClient::new(&authority).with_version(version);
        let stream = trusting.connect(node.public).await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        let mut client = trusting.plain(&node, "news").await;
        client.send("héllo").await;
        assert_eq!(client.receive_text().await, "héllo");
        client.close().await;
    }
    assert_eq!(refused(&node).await, 0.);
}

#[tokio::test]
async fn http_1_1_is_chosen_and_who_offers_only_others_is_refused() {
    let authority = Authority::create();
    let node = node(&authority, &[]).await;
    let trusting = TlsClient::new(&authority);
    let stream = trusting.clone().with_alpn(&["h2", "http/1.1"]).connect(node.public).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let stream = trusting.connect(node.public).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let refusal = trusting.with_alpn(&["h2"]).try_connect(node.public).await.unwrap_err();
    assert!(refusal.to_string().contains("NoApplicationProtocol"), "{refusal}");
    eventually("it to be counted", async || (refused(&node).await == 1.).then_some(())).await;
}

#[tokio::test]
async fn plain_http_is_cut_off_and_counted() {
    let authority = Authority::create();
    let node = node(&authority, &[]).await;
    let mut raw = RawClient::connect(&node).await;
    raw.send(upgrade("/ws/news", "")).await;
    let answer = raw.read_to_end().await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    eventually("it to be counted", async || (refused(&node).await == 1.).then_some(())).await;
}

#[tokio::test]
async fn a_handshake_that_exceeds_its_timeout_is_cut_off_and_counted() {
    let authority = Authority::create();
    let node = node(&authority, &["server.handshake_timeout=300ms"]).await;
    let mut silent = RawClient::connect(&node).await;
    let mut halfway = RawClient::connect(&node).await;
    // The head of a record that is to be a handshake, and the beginning of what it holds.
    halfway.send([0x16, 3, 1, 2, 0, 1, 0, 1]).await;
    silent.read_to_end().await;
    halfway.read_to_end().await;
    // The node counts a handshake after it has closed the socket.
    eventually("both to be counted", async || (refused(&node).await == 2.).then_some(())).await;

    // With the handshake done, the request has its own time.
    let mut stream = TlsClient::new(&authority).connect(node.public).await;
    let mut nothing = Vec::new();
    // Whether it ends with a word of TLS is not promised.
    let _ = soon("the end", stream.read_to_end(&mut nothing)).await;
    assert!(nothing.is_empty());
    assert_eq!(refused(&node).await, 2.);
    let rejected = r#"tidegate_rejected_total{reason="handshake"}"#;
    eventually("it to be counted", async || (node.metric(rejected).await == 1.).then_some(()))
        .await;
}

#[tokio::test]
async fn refusals_are_told_within_tls() {
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
        assert_eq!(refused(&node).await, 0.);
    }
}

#[tokio::test]
async fn who_comes_too_fast_is_cut_off_before_a_handshake_costs_anything() {
    const RATE: &str = r#"tidegate_rejected_total{reason="handshake_rate"}"#;
    let authority = Authority::create();
    let node = node(&authority, &["limits.handshakes_per_second=1"]).await;
    let trusting = TlsClient::new(&authority);
    eventually("a handshake too many", async || {
        trusting.try_connect(node.public).await.is_err().then_some(())
    })
    .await;
    assert!(node.metric(RATE).await >= 1.);
}

#[tokio::test]
async fn it_comes_behind_the_proxys_header() {
    let authority = Authority::create();
    let node = node(&authority, &["server.proxy_protocol=true"]).await;
    let trusting = TlsClient::new(&authority);
    let mut stream = connect(node.public).await;
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n";
    stream.write_all(header).await.expect("it goes out");
    let stream = trusting.handshake(stream).await.expect("the handshake succeeds");
    let client = Client::try_over(stream, node.public, "/ws/news").await;
    let mut client = client.expect("the upgrade is accepted");
    client.send("through a balancer").await;
    assert_eq!(client.receive_text().await, "through a balancer");
}
