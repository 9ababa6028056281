//! Thousands of connections that send nothing, or one byte at a time.

use std::time::Duration;

use testkit::raw::{BINARY, FIN, RawClient, head, upgrade};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::attack_size;
use super::victim::Victim;

/// The pause between two bytes.
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn the_node_survives_thousands_of_silent_connections() {
    let mut victim = Victim::standalone(&["server.handshake_timeout=3s"]).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        for _ in 0..attack_size(100) {
            silent.push(RawClient::connect(&victim.node).await);
        }
        victim.assert_served().await;
    }
    for mut raw in silent {
        assert!(raw.read_to_end().await.is_empty(), "the node sends no response without a request");
    }
    victim.assert_recovered().await;
}

#[tokio::test]
async fn a_handshake_of_one_byte_at_a_time_gets_408_or_no_response() {
    let mut victim = Victim::standalone(&["server.handshake_timeout=3s"]).await;
    let mut connections = JoinSet::new();
    for _ in 0..attack_size(300) {
        let raw = RawClient::connect(&victim.node).await;
        connections
            .spawn(send_slowly(raw, upgrade("/ws/news", &"X: y\r\n".repeat(100)).into_bytes()));
    }
    while !connections.is_empty() {
        victim.assert_served().await;
        while let Some(ended) = connections.try_join_next() {
            let received = ended.expect("the client's task does not panic");
            let is_timeout = received.starts_with(b"HTTP/1.1 408");
            assert!(received.is_empty() || is_timeout, "{received:?}");
        }
        sleep(PAUSE).await;
    }
    victim.assert_recovered().await;
}

/// An incomplete message does not count as a pong, so the node closes the connection with 4009.
#[tokio::test]
async fn a_client_that_sends_a_frame_one_byte_at_a_time_is_closed_with_4009() {
    let pings = ["session.ping_interval=1s", "session.pong_timeout=1s"];
    let mut victim = Victim::standalone(&pings).await;
    let mut connections = JoinSet::new();
    for _ in 0..attack_size(200) {
        let raw = RawClient::open(&victim.node, "/ws/news").await;
        let bytes = [head(FIN | BINARY, 60_000), vec![b'x'; 60_000]].concat();
        connections.spawn(send_slowly(raw, bytes));
    }
    while !connections.is_empty() {
        victim.assert_served().await;
        while let Some(ended) = connections.try_join_next() {
            let received = ended.expect("the client's task does not panic");
            let code = 4009_u16.to_be_bytes();
            assert!(received.windows(2).any(|it| it == code), "closed without 4009: {received:?}");
        }
        sleep(PAUSE).await;
    }
    victim.assert_recovered().await;
}

/// The clients stay connected and read nothing, as after a network failure.
#[tokio::test]
async fn the_node_survives_clients_that_stop_reading() {
    let settings =
        ["session.ping_interval=1s", "session.pong_timeout=1s", "session.queue_bytes_max=64KiB"];
    let mut victim = Victim::standalone(&settings).await;
    let mut silent = Vec::new();
    for _ in 0..attack_size(300) {
        silent.push(RawClient::with_small_buffer(&victim.node, "/ws/healthy").await);
    }
    for _ in 0..20 {
        victim.assert_served().await;
    }
    victim.assert_served_until("tidegate_connections", 2.).await;
    drop(silent);
    victim.assert_recovered().await;
}

/// Sends the bytes one at a time until the node closes the connection; returns the received bytes.
async fn send_slowly(mut raw: RawClient, bytes: Vec<u8>) -> Vec<u8> {
    for byte in bytes {
        if raw.try_send([byte]).await.is_err() {
            break;
        }
        sleep(PAUSE).await;
    }
    raw.read_to_end().await
}
