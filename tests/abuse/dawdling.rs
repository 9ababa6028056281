//! Thousands of connections that send nothing, or one byte at a time.

use std::time::Duration;

use testkit::raw::{BINARY, FIN, RawClient, head, upgrade};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::many;
use super::victim::Victim;

/// Between two bytes.
const PAUSE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn the_node_survives_thousands_of_silent_connections() {
    let mut victim = Victim::alone(&["server.handshake_timeout=3s"]).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        for _ in 0..many(100) {
            silent.push(RawClient::connect(&victim.node).await);
        }
        victim.serves().await;
    }
    for mut raw in silent {
        assert!(raw.read_to_end().await.is_empty(), "nothing was asked");
    }
    victim.survives().await;
}

#[tokio::test]
async fn the_node_survives_handshakes_of_one_byte_at_a_time() {
    let mut victim = Victim::alone(&["server.handshake_timeout=3s"]).await;
    let mut dawdling = JoinSet::new();
    for _ in 0..many(300) {
        let raw = RawClient::connect(&victim.node).await;
        dawdling.spawn(dribble(raw, upgrade("/ws/news", &"X: y\r\n".repeat(100)).into_bytes()));
    }
    while !dawdling.is_empty() {
        victim.serves().await;
        while let Some(heard) = dawdling.try_join_next() {
            let heard = heard.expect("a client");
            assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 408"), "{heard:?}");
        }
        sleep(PAUSE).await;
    }
    victim.survives().await;
}

/// An incomplete message does not count as a pong, so the node closes the connection with 4009.
#[tokio::test]
async fn the_node_survives_frames_of_one_byte_at_a_time() {
    let pings = ["session.ping_interval=1s", "session.pong_timeout=1s"];
    let mut victim = Victim::alone(&pings).await;
    let mut dawdling = JoinSet::new();
    for _ in 0..many(200) {
        let raw = RawClient::open(&victim.node, "/ws/news").await;
        let bytes = [head(FIN | BINARY, 60_000), vec![b'x'; 60_000]].concat();
        dawdling.spawn(dribble(raw, bytes));
    }
    while !dawdling.is_empty() {
        victim.serves().await;
        while let Some(heard) = dawdling.try_join_next() {
            let close = heard.expect("a client");
            let code = 4009_u16.to_be_bytes();
            assert!(close.windows(2).any(|it| it == code), "closed without a word: {close:?}");
        }
        sleep(PAUSE).await;
    }
    victim.survives().await;
}

/// The clients stay connected and read nothing, as after a cable was cut.
#[tokio::test]
async fn the_node_survives_clients_that_stop_reading() {
    let settings =
        ["session.ping_interval=1s", "session.pong_timeout=1s", "session.queue_bytes_max=64KiB"];
    let mut victim = Victim::alone(&settings).await;
    let mut silent = Vec::new();
    for _ in 0..many(300) {
        silent.push(RawClient::with_small_buffer(&victim.node, "/ws/healthy").await);
    }
    for _ in 0..20 {
        victim.serves().await;
    }
    victim.serves_until("tidegate_connections", 2.).await;
    drop(silent);
    victim.survives().await;
}

/// Until nobody listens any more; returns what was heard.
async fn dribble(mut raw: RawClient, bytes: Vec<u8>) -> Vec<u8> {
    for byte in bytes {
        if raw.try_send([byte]).await.is_err() {
            break;
        }
        sleep(PAUSE).await;
    }
    raw.read_to_end().await
}
