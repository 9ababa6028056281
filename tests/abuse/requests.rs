//! Malformed requests, two requests in one, and requests that a proxy would parse differently.

use testkit::raw::{RawClient, close, upgrade};

use super::attack_size;
use super::victim::Victim;

/// The expected result of a request.
enum Expected {
    /// The node responds with an error or closes the connection.
    Refused,
    /// The node handles it as one request and responds once.
    Once,
    /// The node ends the HTTP/2 connection with GOAWAY.
    GoAway,
}

fn malformed_requests() -> Vec<(&'static str, String, Expected)> {
    let with = |more: &str| upgrade("/ws/news", more);
    let changed = |from: &str, to: &str| with("").replace(from, to);
    let smuggled = "GET /ws/smuggled HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        ("a length", with("Content-Length: 5\r\n") + "hello", Expected::Refused),
        ("a length without a body", with("Content-Length: 5\r\n"), Expected::Refused),
        ("chunks", with(chunked) + "0\r\n\r\n", Expected::Refused),
        (
            "length and chunks",
            { with(&format!("Content-Length: 4\r\n{chunked}")) + "0\r\n\r\n" + smuggled },
            Expected::Refused,
        ),
        ("two lengths", with("Content-Length: 0\r\nContent-Length: 44\r\n"), Expected::Refused),
        ("a length with a sign", with("Content-Length: +0\r\n"), Expected::Refused),
        ("chunks, nearly", with("Transfer-Encoding: xchunked\r\n"), Expected::Refused),
        ("chunks with a space", with("Transfer-Encoding : chunked\r\n"), Expected::Refused),
        ("two hosts", with("Host: elsewhere\r\n"), Expected::Refused),
        ("a folded line", with("X-Folded: one\r\n two\r\n"), Expected::Refused),
        ("a name with a space", with("X Name: x\r\n"), Expected::Refused),
        ("a NUL", with("X-Nul: a\0b\r\n"), Expected::Refused),
        ("a lone CR", with("X-Cr: a\rb\r\n"), Expected::Refused),
        ("a tunnel", changed("GET /ws/news", "CONNECT elsewhere:443"), Expected::Refused),
        ("a star", changed("GET /ws/news", "GET *"), Expected::Refused),
        ("no version", changed(" HTTP/1.1", ""), Expected::Refused),
        ("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0"), Expected::Refused),
        (
            "HTTP/2 with frames of stream 0",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned() + &"\0".repeat(40),
            Expected::GoAway,
        ),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01".to_owned() + &"\x7f".repeat(509), Expected::Refused),
        ("a long path", upgrade(&format!("/ws/{}", "x".repeat(60_000)), ""), Expected::Refused),
        ("a long line", with(&format!("X-Long: {}\r\n", "x".repeat(60_000))), Expected::Refused),
        ("many lines", with(&"X: y\r\n".repeat(5_000)), Expected::Refused),
        // A channel name like any other.
        ("dots", upgrade("/ws/../metrics", ""), Expected::Once),
        // Servers must accept it (RFC 9112 section 3.2.2), and may accept single line feeds (section 2.2).
        ("a whole address", changed("GET /ws", "GET http://elsewhere/ws"), Expected::Once),
        ("line feeds", with("").replace("\r\n", "\n"), Expected::Once),
        ("another request behind", with("") + smuggled, Expected::Once),
        ("another upgrade behind", with("") + &with(""), Expected::Once),
    ]
}

/// The type of the last HTTP/2 frame (RFC 9113 section 4.1).
fn last_frame_type(mut bytes: &[u8]) -> Option<u8> {
    let mut last = None;
    while let [a, b, c, kind, ..] = *bytes {
        last = Some(kind);
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        bytes = bytes.get(9 + length..)?;
    }
    last
}

/// RFC 9113 section 6.8.
const GOAWAY: u8 = 7;

#[tokio::test]
async fn each_malformed_request_is_refused_or_gets_one_response() {
    let mut victim = Victim::standalone(&["server.handshake_timeout=1s"]).await;
    for (name, request, expected) in malformed_requests() {
        let mut raw = RawClient::connect(&victim.node).await;
        // The node may close the connection before the whole request is sent.
        let _ = raw.try_send(&request).await;
        if matches!(expected, Expected::Once) {
            let _ = raw.try_send(close(1000, b"")).await;
        }
        let received = raw.read_to_end().await;
        let responses =
            received.windows(9).filter(|it| it.starts_with(b"HTTP/1.") && it[8] == b' ').count();
        let is_upgraded = received.starts_with(b"HTTP/1.1 101");
        assert!(responses <= 1, "{name}: {:?}", String::from_utf8_lossy(&received));
        match expected {
            Expected::Refused => {
                let status = received.get("HTTP/1.1 ".len());
                let is_error = received.is_empty() || responses == 1 && status == Some(&b'4');
                assert!(is_error, "{name}: {:?}", String::from_utf8_lossy(&received));
            }
            Expected::GoAway => assert_eq!(last_frame_type(&received), Some(GOAWAY), "{name}"),
            Expected::Once => assert!(is_upgraded || responses == 1, "{name}"),
        }
        victim.assert_served().await;
    }
    victim.assert_recovered().await;
}

#[tokio::test]
async fn the_node_survives_requests_with_many_lines_and_bytes() {
    let mut victim = Victim::standalone(&["server.handshake_timeout=2s"]).await;
    for _ in 0..attack_size(20) {
        let mut connections = Vec::new();
        for (_, request, _) in
            malformed_requests().into_iter().filter(|shape| shape.1.len() > 10_000)
        {
            let mut raw = RawClient::connect(&victim.node).await;
            let _ = raw.try_send(&request.repeat(20)).await;
            connections.push(raw);
        }
        victim.assert_served().await;
    }
    victim.assert_recovered().await;
}
