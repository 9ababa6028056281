//! Log injection: no text of a client is logged, so a client cannot forge log lines.

use serde_json::json;
use testkit::client::Client;
use testkit::http;
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::{FIN, RawClient, TEXT, frame, upgrade};

const WORD: &str = "mallory";

const ESCAPE: char = '\u{1b}';

#[tokio::test]
async fn no_text_of_a_client_is_in_the_log() {
    for format in ["json", "text"] {
        let format = format!("telemetry.log_format={format}");
        let mut node = Node::standalone(&["telemetry.log_level=debug", &format]).await;
        for request in [
            upgrade(&format!("/ws/{WORD}%0A%1B[2J"), ""),
            upgrade(&format!("/ws/{WORD}?since={WORD}%0A"), ""),
            upgrade(&format!("/{WORD}\u{1b}[2J"), ""),
            upgrade("/ws", &format!("Origin: http://{WORD}\u{1b}[2J\r\n")),
            upgrade("/ws", &format!("Sec-WebSocket-Protocol: {WORD}\u{1b}[2J\r\n")),
            upgrade("/ws", "").replace("dGhl", WORD),
            format!("{WORD}\u{1b}[2J\n{{\"level\":\"ERROR\"}}\r\n\r\n"),
        ] {
            let mut raw = RawClient::connect(&node).await;
            raw.send(request).await;
            raw.response().await;
        }
        let path = format!("/api/publish/{WORD}%1B%0A");
        http::request(node.internal, "POST", &path, &[("authorization", WORD)], b"x").await;
        let mut client = Client::json(&node).await;
        for channel in [WORD.to_owned(), format!("{WORD}\n"), format!("{WORD}\u{1b}[2J")] {
            for kind in ["subscribe", "publish", "history", WORD] {
                let command = json!({"type": kind, "id": 1, "channel": channel, "data": WORD});
                client.request(command).await;
            }
        }
        client.close().await;
        let mut raw = RawClient::open(&node, &format!("/ws/{WORD}")).await;
        raw.send(frame(FIN | TEXT, b"mallory\xff")).await;
        raw.read_to_end().await;
        node.signal(Signal::INT);
        assert_eq!(node.process.exit_code().await, 0);
        let log = node.process.stderr();
        assert!(log.len() > 8, "much was refused, and told: {log:?}");
        for line in log {
            assert!(!line.contains(WORD) && !line.contains(ESCAPE), "{line:?}");
        }
    }
}
