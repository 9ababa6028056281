//! Polls whose clients vanish or send what they should not, and bodies that never arrive.

use std::time::Duration;

use testkit::raw::RawClient;
use tokio::time::sleep;

use super::attack_size;
use super::victim::Victim;

const POLL: &str = "GET /poll/attacked?wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn the_node_survives_polls_whose_clients_vanish() {
    let mut victim = Victim::standalone(&[]).await;
    for round in 0..5 {
        let mut polls = Vec::new();
        for _ in 0..attack_size(100) {
            let mut raw = RawClient::connect(&victim.node).await;
            raw.send(POLL).await;
            polls.push(raw);
        }
        victim.assert_served().await;
        for raw in polls {
            match round % 2 {
                0 => raw.reset().await,
                _ => drop(raw),
            }
        }
    }
    victim.assert_recovered().await;
}

#[tokio::test]
async fn a_client_that_floods_its_connection_while_its_poll_waits_is_cut_off() {
    let mut victim = Victim::standalone(&[]).await;
    let mut floods: Vec<tokio::task::JoinHandle<()>> = Vec::new();
    for _ in 0..attack_size(20) {
        let mut raw = RawClient::connect(&victim.node).await;
        raw.send(POLL).await;
        floods.push(tokio::spawn(async move {
            let junk = vec![b'x'; 64 << 10];
            while raw.try_send(&junk).await.is_ok() {}
        }));
    }
    while floods.iter().any(|flood| !flood.is_finished()) {
        victim.assert_served().await;
        sleep(Duration::from_millis(100)).await;
    }
    victim.assert_recovered().await;
}

#[tokio::test]
async fn bodies_of_one_byte_at_a_time_are_refused_with_408() {
    let mut victim = Victim::standalone(&["server.handshake_timeout=2s"]).await;
    let mut slow = Vec::new();
    for _ in 0..attack_size(100) {
        let mut raw = RawClient::connect(&victim.node).await;
        raw.send(
            "POST /publish/attacked HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
        )
        .await;
        slow.push(tokio::spawn(async move {
            while raw.try_send("x").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
            raw.read_to_end().await
        }));
    }
    while slow.iter().any(|client| !client.is_finished()) {
        victim.assert_served().await;
        sleep(Duration::from_millis(100)).await;
    }
    for client in slow {
        let received = client.await.expect("the client's task does not panic");
        let is_timeout = received.starts_with(b"HTTP/1.1 408");
        assert!(received.is_empty() || is_timeout, "{:?}", String::from_utf8_lossy(&received));
    }
    victim.assert_recovered().await;
}
