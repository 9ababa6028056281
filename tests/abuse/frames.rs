//! WebSocket floods, fragments and aborted connections.

use std::time::{Duration, Instant};

use testkit::raw::{CONTINUATION, FIN, PING, PONG, RawClient, TEXT, frame, text, upgrade};
use tokio::task::JoinSet;

use super::attack_size;
use super::victim::Victim;

const FLOODING_CLIENTS: usize = 8;

/// The longest duration of a flood.
const FLOOD_MAX: Duration = Duration::from_secs(120);

/// The bytes of one write of a flood.
const CHUNK_BYTES: usize = 64 << 10;

/// Several clients send `opening` and then `piece` repeatedly, and read nothing, until each has sent `bytes`
/// or the node closes its connection. Returns the number of closed connections.
async fn flood(
    victim: &mut Victim,
    path: &str,
    opening: &[u8],
    piece: &[u8],
    bytes: usize,
) -> usize {
    let mut clients = JoinSet::new();
    for _ in 0..FLOODING_CLIENTS {
        let mut raw = RawClient::with_small_buffer(&victim.node, path).await;
        raw.send(opening).await;
        let chunk = piece.repeat(CHUNK_BYTES.div_ceil(piece.len()));
        clients.spawn(async move {
            for _ in 0..bytes.div_ceil(CHUNK_BYTES) {
                if raw.send_without_deadline(&chunk).await.is_err() {
                    return true;
                }
            }
            false
        });
    }
    let (mut closed_count, deadline) = (0, Instant::now() + FLOOD_MAX);
    while !clients.is_empty() {
        assert!(
            Instant::now() < deadline,
            "the node neither reads from nor closes a flooding client"
        );
        victim.assert_served().await;
        while let Some(ended) = clients.try_join_next() {
            closed_count += usize::from(ended.expect("the client's task does not panic"));
        }
    }
    closed_count
}

#[tokio::test]
async fn a_client_that_floods_pings_and_reads_no_pongs_is_closed_as_slow() {
    let mut victim = Victim::standalone(&[]).await;
    let ping = frame(FIN | PING, &[b'x'; 125]);
    let closed_count = flood(&mut victim, "/ws/flood", b"", &ping, attack_size(64 << 20)).await;
    assert_eq!(closed_count, FLOODING_CLIENTS, "a client that reads no pongs is slow");
    victim.assert_recovered().await;
}

#[tokio::test]
async fn the_node_survives_a_flood_of_unsolicited_pongs() {
    let mut victim = Victim::standalone(&[]).await;
    let pong = frame(FIN | PONG, b"");
    flood(&mut victim, "/ws/flood", b"", &pong, attack_size(4 << 20)).await;
    victim.assert_recovered().await;
}

#[tokio::test]
async fn a_client_that_sends_endless_fragments_and_no_pongs_is_closed() {
    let pings = ["session.ping_interval=1s", "session.pong_timeout=1s"];
    let mut victim = Victim::standalone(&pings).await;
    let opening = frame(TEXT, b"");
    let nothing = frame(CONTINUATION, b"");
    // More than the node reads until the pong timeout: a fragment does not count as a pong.
    let closed_count = flood(&mut victim, "/ws/flood", &opening, &nothing, 1 << 40).await;
    assert_eq!(closed_count, FLOODING_CLIENTS);
    victim.assert_recovered().await;
}

#[tokio::test]
async fn a_client_that_sends_endless_fragments_of_one_byte_is_closed_as_too_large() {
    let mut victim = Victim::standalone(&[]).await;
    let (opening, one) = (frame(TEXT, b"x"), frame(CONTINUATION, b"x"));
    flood(&mut victim, "/ws/flood", &opening, &one, attack_size(8 << 20)).await;
    let closed = r#"tidegate_connections_closed_total{reason="too_large"}"#;
    victim.assert_served_until(closed, FLOODING_CLIENTS as f64).await;
    victim.assert_recovered().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_own_publications_is_closed_as_slow() {
    let mut victim = Victim::standalone(&[]).await;
    let large = text(&"x".repeat(16 << 10));
    let closed_count = flood(&mut victim, "/ws/flood", b"", &large, attack_size(64 << 20)).await;
    assert_eq!(closed_count, FLOODING_CLIENTS, "a client that does not read is slow");
    victim.assert_recovered().await;
}

#[tokio::test]
async fn the_node_survives_commands_whose_replies_are_not_read() {
    let mut victim = Victim::on_redis(&[]).await;
    for command in [
        r#"{"type":"subscribe","id":1,"channel":"flood"}"#,
        r#"{"type":"publish","id":1,"channel":"flood","data":[1,2,3]}"#,
        r#"{"type":"presence","id":1,"channel":"flood"}"#,
        r#"{"type":"dance","id":1}"#,
    ] {
        flood(&mut victim, "/ws", b"", &text(command), attack_size(4 << 20)).await;
    }
    victim.assert_recovered().await;
}

#[tokio::test]
async fn the_node_survives_every_kind_of_aborted_connection() {
    let mut victim = Victim::standalone(&["server.handshake_timeout=2s"]).await;
    let request = upgrade("/ws/ends", "");
    for round in 0..attack_size(100) {
        // The connection ends within a request, within a frame, and between two.
        let mut raw = RawClient::connect(&victim.node).await;
        raw.send(&request[..round % request.len()]).await;
        match round % 3 {
            0 => drop(raw),
            1 => raw.reset().await,
            _ => raw.half_close().await,
        }
        let mut raw = RawClient::open(&victim.node, "/ws/ends").await;
        let frame = text("a frame that may be whole");
        raw.send(&frame[..round % (frame.len() + 1)]).await;
        match round % 3 {
            0 => drop(raw),
            1 => raw.reset().await,
            _ => raw.half_close().await,
        }
        victim.assert_served().await;
    }
    victim.assert_recovered().await;
}
