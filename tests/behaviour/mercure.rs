//! Mercure, as its client libraries speak it. The tests name the section of draft-dunglas-mercure that they are about.

mod hostile;
mod libraries;
mod private;
mod publishing;
mod resuming;
mod subscribing;
mod tokens;

use testkit::event_stream::{EventStream, SseEvent};
use testkit::http::{Response, request};
use testkit::node::Node;

pub const MERCURE: &str = "mercure.enabled=true";

const HUB: &str = "/.well-known/mercure";

/// A rule with history for these topics, and one for all others.
const HISTORY: &str =
    r#"rules=[{pattern="https://kept.test/**",history={size=5,age="10m"}},{pattern="**"}]"#;

/// A value as a form or query has it.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

pub fn form(fields: &[(&str, &str)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    fields.join("&")
}

/// Sends a form with these headers.
async fn post_with(node: &Node, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Response {
    let form_header = [("Content-Type", "application/x-www-form-urlencoded")];
    let headers = [&form_header, headers].concat();
    request(node.public, "POST", HUB, &headers, form(fields).as_bytes()).await
}

async fn post(node: &Node, fields: &[(&str, &str)]) -> Response {
    post_with(node, fields, &[]).await
}

/// Publishes an update that the node accepts, and returns its id.
pub async fn publish(node: &Node, topic: &str, data: &str) -> String {
    published(post(node, &[("topic", topic), ("data", data)]).await)
}

fn published(answer: Response) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    answer.text()
}

/// The path that follows these topics.
pub fn path(topics: &[&str]) -> String {
    let topics: Vec<_> = topics.iter().map(|topic| format!("topic={}", encoded(topic))).collect();
    format!("{HUB}?{}", topics.join("&"))
}

pub async fn follow(node: &Node, topics: &[&str]) -> EventStream {
    EventStream::open(node, &path(topics)).await
}

async fn follow_with(node: &Node, topics: &[&str], token: &str) -> EventStream {
    let header = format!("Authorization: Bearer {token}\r\n");
    let opened = EventStream::request(node.public, &path(topics), &header).await;
    opened.unwrap_or_else(|refused| panic!("refused: {refused:?}"))
}

/// The name and the data of the next event.
async fn next(stream: &mut EventStream) -> (String, String) {
    let SseEvent { name, data, .. } = stream.event().await;
    (name, data)
}

async fn next_data(stream: &mut EventStream) -> String {
    next(stream).await.1
}

/// The error code of a refusal.
fn code(response: &Response) -> String {
    response.json()["error"]["code"].as_str().expect("a code").to_owned()
}

async fn refused(node: &Node, path: &str, headers: &str) -> Response {
    match EventStream::request(node.public, path, headers).await {
        Err(refused) => refused,
        Ok(_) => panic!("{path} was accepted"),
    }
}
