//! The public listener: client addresses behind proxies, and limits on connections and handshakes.

mod balancer;
mod client_address;
mod limits;
mod memory_max;
mod origin;
mod proxy_header;

use testkit::http::Response;
use testkit::node::Node;
use testkit::raw::{RawClient, upgrade};

/// The answer to this request.
async fn answer(node: &Node, request: impl AsRef<[u8]>) -> Response {
    let mut raw = RawClient::connect(node).await;
    raw.send(request).await;
    raw.response().await
}

/// The status of an upgrade requested from this address with more header lines, each with its `\r\n`.
async fn status_from(node: &Node, address: &str, more: &str) -> u16 {
    let mut raw = RawClient::connect_from(node, address).await;
    // The node may refuse the connection before it has read the request.
    let _ = raw.try_send(upgrade("/ws/news", more)).await;
    raw.response().await.status
}

fn assert_refused(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let seconds: u32 = response.header("retry-after").expect("when to retry").parse().unwrap();
    assert!(seconds > 0);
    assert_eq!(response.json()["error"]["code"], code, "{response:?}");
}

fn rejected(reason: &str) -> String {
    format!("tidegate_rejected_total{{reason=\"{reason}\"}}")
}
