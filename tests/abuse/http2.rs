//! Floods of HTTP/2 frames that cost a client next to nothing (CVE-2019-9512 to 9518).

use std::time::{Duration, Instant};

use testkit::raw_http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING,
    PRIORITY, RawHttp2, SETTINGS, WINDOW_UPDATE, extended_connect, frame, get,
};
use tokio::task::JoinSet;

use super::attack_size;
use super::victim::Victim;

const FLOODING_CLIENTS: usize = 8;

/// The longest duration of a flood.
const FLOOD_MAX: Duration = Duration::from_secs(120);

/// `:status: 200`, an entry of the static table (RFC 7541 appendix A).
const STATUS_200: u8 = 0x88;

/// The bytes of one write of a flood.
const CHUNK_BYTES: usize = 64 << 10;

/// Whether the flooding clients read what the node sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Everything,
    Nothing,
}

/// Several clients send `opening` and then `piece` repeatedly, until each has sent `bytes` or the node ends its
/// connection. Returns the number of ended connections.
async fn flood(
    victim: &mut Victim,
    reading: Reading,
    (opening, piece): (&[u8], &[u8]),
    bytes: usize,
) -> usize {
    let mut clients = JoinSet::new();
    for _ in 0..FLOODING_CLIENTS {
        let client = RawHttp2::connect(&victim.node, &[]).await;
        let chunk = piece.repeat(CHUNK_BYTES.div_ceil(piece.len()));
        let opening = opening.to_vec();
        clients.spawn(async move {
            let (mut reader, mut writer) = client.into_halves();
            let reads = tokio::spawn(async move {
                match reading {
                    Reading::Everything => reader.read_to_end().await,
                    Reading::Nothing => std::future::pending().await,
                }
            });
            let mut ended = writer.send_without_deadline(&opening).await.is_err();
            for _ in 0..bytes.div_ceil(CHUNK_BYTES) {
                ended = ended || writer.send_without_deadline(&chunk).await.is_err();
            }
            reads.abort();
            ended
        });
    }
    let (mut ended_count, deadline) = (0, Instant::now() + FLOOD_MAX);
    while !clients.is_empty() {
        assert!(Instant::now() < deadline, "the node neither reads nor ends a connection");
        victim.assert_served().await;
        while let Some(ended) = clients.try_join_next() {
            ended_count += usize::from(ended.expect("the client's task does not panic"));
        }
    }
    ended_count
}

fn settings() -> Vec<u8> {
    // SETTINGS_INITIAL_WINDOW_SIZE
    frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xFF, 0xFF])
}

#[tokio::test]
async fn the_node_serves_others_during_floods_of_http_2_frames_without_a_request() {
    let mut victim = Victim::standalone(&[]).await;
    let unknown_kind = frame(0xBB, 0, 0, b"");
    for piece in [
        frame(PING, 0, 0, b"12345678"),
        frame(PING, ACK, 0, b"12345678"),
        settings(),
        frame(SETTINGS, 0, 0, b""),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 0]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        unknown_kind,
    ] {
        flood(&mut victim, Reading::Everything, (b"", &piece), attack_size(1 << 20)).await;
    }
    victim.assert_recovered().await;
}

/// The answers fill the socket, and the node then reads no more from it.
#[tokio::test]
async fn a_client_that_floods_http_2_pings_or_settings_and_reads_nothing_is_disconnected() {
    let heartbeat = ["session.ping_interval=1s", "session.pong_timeout=5s"];
    let mut victim = Victim::standalone(&heartbeat).await;
    for piece in [frame(PING, 0, 0, b"12345678"), settings()] {
        // More than fits into the sockets.
        let ended = flood(&mut victim, Reading::Nothing, (b"", &piece), 1 << 40).await;
        assert_eq!(ended, FLOODING_CLIENTS);
    }
    victim.assert_recovered().await;
}

#[tokio::test]
async fn floods_of_http_2_frames_on_a_stream_end_the_connection() {
    let mut victim = Victim::standalone(&[]).await;
    let websocket = extended_connect(1, "/ws/flood");
    let half_head = frame(HEADERS, 0, 1, &[0x82, 0x86]);
    for (opening, piece) in [
        (&websocket, frame(DATA, 0, 1, b"")),
        (&get(1, "/nothing"), frame(CONTINUATION, 0, 1, b"")),
        (&half_head, frame(CONTINUATION, 0, 1, b"")),
    ] {
        let ended = flood(&mut victim, Reading::Everything, (opening, &piece), 1 << 40).await;
        assert_eq!(ended, FLOODING_CLIENTS, "{piece:?}");
    }
    victim.assert_recovered().await;
}

/// A header of 4000 bytes that each further byte of the request repeats.
#[tokio::test]
async fn a_compressed_header_bomb_is_refused_and_its_memory_returns() {
    let mut victim = Victim::standalone(&[]).await;
    let mut block = vec![0x82, 0x86, 0x84, 0x40, 1, b'x', 0x7F, 0xA1, 0x1E];
    block.extend([b'y'; 4000]);
    block.extend([0xBE; 8000]);
    for _ in 0..attack_size(20) {
        let mut client = RawHttp2::connect(&victim.node, &[]).await;
        client
            .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block))
            .await
            .expect("it is sent");
        while let Some(frame) = client.frame().await {
            if frame.stream == 1 || frame.kind == GOAWAY {
                let is_accepted = frame.kind == HEADERS && frame.payload.starts_with(&[STATUS_200]);
                assert!(!is_accepted, "{frame:?}");
                break;
            }
        }
        victim.assert_served().await;
    }
    victim.assert_recovered().await;
}

#[tokio::test]
async fn small_data_frames_that_a_session_has_not_read_are_bounded() {
    let mut victim = Victim::standalone(&[]).await;
    for _ in 0..attack_size(5) {
        let mut client = RawHttp2::connect(&victim.node, &[]).await;
        client.send(&extended_connect(1, "/ws/flood")).await.expect("it is sent");
        let piece = frame(DATA, 0, 1, b"x").repeat(1000);
        while client.send(&piece).await.is_ok() {}
        victim.assert_served().await;
        let code = client.goaway_code().await;
        assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
    }
    victim.assert_recovered().await;
}
