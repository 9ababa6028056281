//! Channel history: positions of publications, resuming without loss, and the `history` command.

mod commands;
mod forced_failover;
mod idempotency;
mod on_redis;
mod plain;
mod positions;
mod random_disconnects;
mod replay;
mod resume;
mod shared_functions;
mod simultaneous_resumes;
mod slow_consumer;
mod toggling;
mod unrecoverable_positions;

use std::fmt;

use serde_json::{Value, json};
use testkit::client::Client;

/// Channels `h:…` keep their last 50 publications, all others none.
const RULES: &str = r#"rules=[{pattern="h:*",history={size=50,age="10m"}},{pattern="**"}]"#;

/// The same with 5000 publications, enough for clients that are disconnected for a while.
const LONG: &str = r#"rules=[{pattern="h:*",history={size=5000,age="10m"}},{pattern="**"}]"#;

/// The most publications that a history may keep beyond its size.
const SIZE_SLACK: u64 = 100;

/// The position of a publication, as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Position {
    epoch: u64,
    seq: u64,
}

impl Position {
    fn of(event: &Value) -> Self {
        let text = event["position"].as_str().unwrap_or_else(|| panic!("no position in {event}"));
        Self::parse(text)
    }

    fn parse(text: &str) -> Self {
        let (epoch, seq) = text.split_once('-').expect("two numbers");
        Self { epoch: epoch.parse().expect("an epoch"), seq: seq.parse().expect("a seq") }
    }

    /// The position `count` publications later.
    fn plus(self, count: u64) -> Self {
        Self { seq: self.seq + count, ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// Publishes on a channel with history, and returns the position.
async fn publish(client: &mut Client, channel: &str, data: impl Into<Value>) -> Position {
    let data = data.into();
    let command = json!({"type": "publish", "id": 2, "channel": channel, "data": data});
    let answer = client.request(command).await;
    assert_eq!(answer["type"], "published", "{answer}");
    Position::of(&answer)
}

/// Publishes these numbers, and returns the last one's position.
async fn publish_all(
    client: &mut Client,
    channel: &str,
    numbers: std::ops::RangeInclusive<u64>,
) -> Position {
    let mut last = None;
    for number in numbers {
        last = Some(publish(client, channel, number).await);
    }
    last.expect("at least one number")
}

/// Subscribes, and returns the channel's position.
async fn subscribe(client: &mut Client, channel: &str) -> Position {
    let answer = client.request(json!({"type": "subscribe", "id": 1, "channel": channel})).await;
    let position = Position::of(&answer);
    let expected = json!({
        "type": "subscribed", "id": 1, "channel": channel, "position": position.to_string(),
    });
    assert_eq!(answer, expected);
    position
}

/// Subscribes with `since`, and returns the next event, which is the answer.
async fn resume(client: &mut Client, channel: &str, since: Position) -> Value {
    let since = since.to_string();
    client
        .send_command(json!({"type": "subscribe", "id": 1, "channel": channel, "since": since}))
        .await;
    client.event().await
}

/// The expected answer to [`resume`].
fn subscribed(channel: &str, position: Position, recovered: bool) -> Value {
    json!({
        "type": "subscribed", "id": 1, "channel": channel, "position": position.to_string(),
        "recovered": recovered,
    })
}

/// The expected event for a JSON payload.
fn publication(channel: &str, data: impl Into<Value>, position: Position) -> Value {
    json!({
        "type": "publication", "channel": channel, "data": data.into(),
        "position": position.to_string(),
    })
}
