//! Durable streams: channels as append-only streams over HTTP. What is appended reaches the subscribers of every protocol,
//! what is published by any other way is read by offset, and all nodes serve the same stream.

mod doors;
mod limits;
mod lives;
mod races;

use testkit::http::{self, Response};
use testkit::node::Node;

/// `s:…` are streams; `small:…` keep three messages; nothing else is one. `read:…` and `write:…` are for readers and for
/// writers only.
const RULES: &str = r#"rules=[{pattern="s:**",history={size=1000,age="10m"},run={lease="1s"},streams=true},
    {pattern="small:**",history={size=3,age="10m"},run={lease="1h"},streams=true},
    {pattern="merged:**",history={size=100,age="10m"},run={lease="1h",merge="text"},streams=true},
    {pattern="read:**",subscribe="anyone",publish="nobody",history={size=9,age="10m"},run={lease="1h"},streams=true},
    {pattern="write:**",subscribe="nobody",publish="anyone",history={size=9,age="10m"},run={lease="1h"},streams=true},
    {pattern="run:**",history={size=9,age="10m"},run={lease="1h"}},{pattern="**"}]"#;

const TEXT: (&str, &str) = ("Content-Type", "text/plain");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const CLOSES: (&str, &str) = ("Stream-Closed", "true");

async fn ask(
    node: &Node,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    http::request(node.public, method, &format!("/streams/{path}"), headers, body).await
}

async fn create(node: &Node, name: &str, headers: &[(&str, &str)], body: &str) -> String {
    let answer = ask(node, "PUT", name, headers, body.as_bytes()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    next_offset(&answer)
}

async fn append(node: &Node, name: &str, content_type: (&str, &str), body: &str) -> String {
    let answer = ask(node, "POST", name, &[content_type], body.as_bytes()).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    next_offset(&answer)
}

/// Reads what follows the offset. Returns the body and the next offset.
async fn read(node: &Node, name: &str, offset: &str) -> (String, String) {
    let answer = ask(node, "GET", &format!("{name}?offset={offset}"), &[], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    (answer.text(), next_offset(&answer))
}

fn next_offset(answer: &Response) -> String {
    answer.header("stream-next-offset").expect("the answer has an offset").to_owned()
}

/// The status and the code of a refusal.
fn refusal(answer: &Response) -> (u16, String) {
    let code = answer.json()["error"]["code"].as_str().expect("an error has a code").to_owned();
    (answer.status, code)
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
