//! WebSocket upgrades: accepted, refused, and timed out.

mod accepted;
mod connections_max;
mod demo;
mod origin;
mod refused;
mod timeout;

use testkit::http::Response;
use testkit::node::Node;
use testkit::raw::RawClient;

/// The answer to this request.
async fn answer(node: &Node, request: impl AsRef<[u8]>) -> Response {
    let mut raw = RawClient::connect(node).await;
    raw.send(request).await;
    raw.response().await
}

fn assert_refused(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let error = &response.json()["error"];
    assert!(error["code"].is_string(), "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{error}");
}
