//! Log injection: no text of a client is logged, so a client cannot forge log lines.

use serde_json::json;
use testkit::client::Client;
use testkit::http;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::{FIN, RawClient, TEXT, frame, upgrade};

const CLIENT_TEXT: &str = "mallory";

const ESCAPE: char = '\u{1b}';

#[tokio::test]
async fn the_log_contains_no_text_of_a_client() {
    for format in ["json", "text"] {
        let format = format!("telemetry.log_format={format}");
        let mut node = Node::standalone(&["telemetry.log_level=debug", &format]).await;
        for request in [
            upgrade(&format!("/ws/{CLIENT_TEXT}%0A%1B[2J"), ""),
            upgrade(&format!("/ws/{CLIENT_TEXT}?since={CLIENT_TEXT}%0A"), ""),
            upgrade(&format!("/{CLIENT_TEXT}\u{1b}[2J"), ""),
            format!("GET /sse?channel={CLIENT_TEXT}%0A HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            format!(
                "GET /sse?channel={CLIENT_TEXT}&channel={CLIENT_TEXT} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            ),
            format!(
                "GET /poll/{CLIENT_TEXT}?wait={CLIENT_TEXT} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            ),
            format!("GET /history/{CLIENT_TEXT} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            upgrade("/ws", &format!("Origin: http://{CLIENT_TEXT}\u{1b}[2J\r\n")),
            upgrade("/ws", &format!("Sec-WebSocket-Protocol: {CLIENT_TEXT}\u{1b}[2J\r\n")),
            upgrade("/ws", "").replace("dGhl", CLIENT_TEXT),
            format!("{CLIENT_TEXT}\u{1b}[2J\n{{\"level\":\"ERROR\"}}\r\n\r\n"),
        ] {
            let mut raw = RawClient::connect(&node).await;
            raw.send(request).await;
            raw.response().await;
        }
        let path = format!("/api/publish/{CLIENT_TEXT}%1B%0A");
        http::request(node.internal, "POST", &path, &[("authorization", CLIENT_TEXT)], b"x").await;
        let mut client = Client::json(&node).await;
        for channel in
            [CLIENT_TEXT.to_owned(), format!("{CLIENT_TEXT}\n"), format!("{CLIENT_TEXT}\u{1b}[2J")]
        {
            for kind in ["subscribe", "publish", "history", CLIENT_TEXT] {
                let command =
                    json!({"type": kind, "id": 1, "channel": channel, "data": CLIENT_TEXT});
                client.request(command).await;
            }
        }
        client.close().await;
        let mut raw = RawClient::open(&node, &format!("/ws/{CLIENT_TEXT}")).await;
        raw.send(frame(FIN | TEXT, b"mallory\xff")).await;
        raw.read_to_end().await;
        node.signal(Signal::INT);
        assert_eq!(node.process.exit_code().await, 0);
        let log = node.process.stderr();
        assert!(log.len() > 8, "the node logged the refused requests: {log:?}");
        for line in log {
            assert!(!line.contains(CLIENT_TEXT) && !line.contains(ESCAPE), "{line:?}");
        }
    }
}
