//! Malformed requests, two requests in one, and requests that a proxy would parse differently.

use testkit::raw::{RawClient, close, upgrade};

use super::many;
use super::victim::Victim;

/// The expected result of a request.
enum Fate {
    /// Refused, or cut off.
    Refused,
    /// Taken for one request and answered once.
    Once,
}

fn shapes() -> Vec<(&'static str, String, Fate)> {
    let with = |more: &str| upgrade("/ws/news", more);
    let changed = |from: &str, to: &str| with("").replace(from, to);
    let smuggled = "GET /ws/smuggled HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        ("a length", with("Content-Length: 5\r\n") + "hello", Fate::Refused),
        ("a length that never comes", with("Content-Length: 5\r\n"), Fate::Refused),
        ("chunks", with(chunked) + "0\r\n\r\n", Fate::Refused),
        (
            "length and chunks",
            { with(&format!("Content-Length: 4\r\n{chunked}")) + "0\r\n\r\n" + smuggled },
            Fate::Refused,
        ),
        ("two lengths", with("Content-Length: 0\r\nContent-Length: 44\r\n"), Fate::Refused),
        ("a length with a sign", with("Content-Length: +0\r\n"), Fate::Refused),
        ("chunks, nearly", with("Transfer-Encoding: xchunked\r\n"), Fate::Refused),
        ("chunks with a space", with("Transfer-Encoding : chunked\r\n"), Fate::Refused),
        ("two hosts", with("Host: elsewhere\r\n"), Fate::Refused),
        ("a folded line", with("X-Folded: one\r\n two\r\n"), Fate::Refused),
        ("a name with a space", with("X Name: x\r\n"), Fate::Refused),
        ("a NUL", with("X-Nul: a\0b\r\n"), Fate::Refused),
        ("a lone CR", with("X-Cr: a\rb\r\n"), Fate::Refused),
        ("a tunnel", changed("GET /ws/news", "CONNECT elsewhere:443"), Fate::Refused),
        ("a star", changed("GET /ws/news", "GET *"), Fate::Refused),
        ("no version", changed(" HTTP/1.1", ""), Fate::Refused),
        ("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0"), Fate::Refused),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned() + &"\0".repeat(40), Fate::Refused),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01".to_owned() + &"\x7f".repeat(509), Fate::Refused),
        ("a long path", upgrade(&format!("/ws/{}", "x".repeat(60_000)), ""), Fate::Refused),
        ("a long line", with(&format!("X-Long: {}\r\n", "x".repeat(60_000))), Fate::Refused),
        ("many lines", with(&"X: y\r\n".repeat(5_000)), Fate::Refused),
        // The name of a channel, as any other.
        ("dots", upgrade("/ws/../metrics", ""), Fate::Once),
        // Servers are to take it (RFC 9112 section 3.2.2), and single line feeds (section 2.2).
        ("a whole address", changed("GET /ws", "GET http://elsewhere/ws"), Fate::Once),
        ("line feeds", with("").replace("\r\n", "\n"), Fate::Once),
        ("another request behind", with("") + smuggled, Fate::Once),
        ("another upgrade behind", with("") + &with(""), Fate::Once),
    ]
}

#[tokio::test]
async fn each_malformed_request_is_refused_or_answered_once() {
    let mut victim = Victim::alone(&["server.handshake_timeout=1s"]).await;
    for (name, request, fate) in shapes() {
        let mut raw = RawClient::connect(&victim.node).await;
        // It may be cut off before it has said all.
        let _ = raw.try_send(&request).await;
        if matches!(fate, Fate::Once) {
            let _ = raw.try_send(close(1000, b"")).await;
        }
        let heard = raw.read_to_end().await;
        let answers =
            heard.windows(9).filter(|it| it.starts_with(b"HTTP/1.") && it[8] == b' ').count();
        let is_upgraded = heard.starts_with(b"HTTP/1.1 101");
        assert!(answers <= 1, "{name}: {:?}", String::from_utf8_lossy(&heard));
        match fate {
            Fate::Refused => {
                let status = heard.get("HTTP/1.1 ".len());
                let is_error = heard.is_empty() || answers == 1 && status == Some(&b'4');
                assert!(is_error, "{name}: {:?}", String::from_utf8_lossy(&heard));
            }
            Fate::Once => assert!(is_upgraded || answers == 1, "{name}"),
        }
        victim.serves().await;
    }
    victim.survives().await;
}

#[tokio::test]
async fn the_node_survives_requests_with_many_lines_and_bytes() {
    let mut victim = Victim::alone(&["server.handshake_timeout=2s"]).await;
    for _ in 0..many(20) {
        let mut bombs = Vec::new();
        for (_, request, _) in shapes().into_iter().filter(|shape| shape.1.len() > 10_000) {
            let mut raw = RawClient::connect(&victim.node).await;
            let _ = raw.try_send(&request.repeat(20)).await;
            bombs.push(raw);
        }
        victim.serves().await;
    }
    victim.survives().await;
}
