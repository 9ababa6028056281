//! Runs: streams that end. The end reaches every subscriber on every protocol, live or late, and a run without its
//! worker ends too.

mod control;
mod end;
mod functions;
mod lease;
mod masters;
mod protocols;

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::http::Response;
use testkit::node::Node;

/// `run:…` have a long lease, `short:…` a short one; what clients publish on `ask:…` goes to `control:ask:…`.
const RULES: &str = r#"rules=[{pattern="run:**",history={size=1000,age="10m"},run={lease="1h"}},
    {pattern="short:**",history={size=1000,age="10m"},run={lease="1s"}},
    {pattern="ask:**",history={size=1000,age="10m"},run={lease="1h",control="control:{name}"}},
    {pattern="control:kept:**",history={size=10,age="10m"}},{pattern="h:**",history={size=10,age="10m"}},{pattern="**"}]"#;

/// Publishes these numbers through the API, as a worker does. Returns the last position.
async fn work(node: &Node, channel: &str, numbers: std::ops::RangeInclusive<u32>) -> String {
    let mut position = String::new();
    for number in numbers {
        let path = format!("/api/publish/{channel}");
        let answer = node.post(&path, &[], number.to_string().as_bytes()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        position = text(&answer.json()["position"]);
    }
    position
}

/// Ends the run, and returns the position of the end.
async fn end(node: &Node, channel: &str, reason: &str) -> String {
    let answer = try_end(node, channel, &json!({ "reason": reason })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    text(&answer.json()["position"])
}

async fn try_end(node: &Node, channel: &str, body: &Value) -> Response {
    node.post(&format!("/api/end/{channel}"), &[], body.to_string().as_bytes()).await
}

/// The `error` of a refused request.
fn refusal(answer: &Response) -> (u16, String, String) {
    let error = &answer.json()["error"];
    (answer.status, text(&error["code"]), text(&error["message"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The position `count` places later.
fn after(position: &str, count: u64) -> String {
    let (epoch, seq) = position.split_once('-').expect("a position");
    format!("{epoch}-{}", seq.parse::<u64>().expect("a number") + count)
}

fn ended(channel: &str, reason: &str, position: &str) -> Value {
    json!({"type": "ended", "channel": channel, "reason": reason, "position": position})
}

/// Subscribes on a new connection. Returns the answer too.
async fn subscribe(node: &Node, channel: &str, start: Value) -> (Client, Value) {
    let mut client = Client::json(node).await;
    let mut command = json!({"type": "subscribe", "id": 1, "channel": channel});
    if let (Value::Object(command), Value::Object(start)) = (&mut command, start) {
        command.extend(start);
    }
    let answer = client.request(command).await;
    assert_eq!(answer["type"], "subscribed", "{answer}");
    (client, answer)
}

/// Asserts that these numbers arrive, and then the end, and nothing after it.
async fn receive(client: &mut Client, numbers: std::ops::RangeInclusive<u32>, end: &Value) {
    for number in numbers {
        let event = client.event().await;
        assert_eq!((&event["type"], &event["data"]), (&json!("publication"), &json!(number)));
    }
    assert_eq!(client.event().await, *end);
    assert_eq!(client.request(json!({"type": "ping", "id": 99})).await["type"], "pong");
}
