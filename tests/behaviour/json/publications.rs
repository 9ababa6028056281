//! The fields of publications in the json protocol: `time`, and where the payload is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::client::{Client, Message};
use testkit::fleet::{Broker, Fleet, for_every_broker};

/// Channels `h:…` keep their history.
const RULES: &str = r#"rules=[{pattern="h:*",history={size=50,age="10m"}},{pattern="**"}]"#;

for_every_broker!(
    a_publication_has_the_same_time_live_resumed_and_in_the_history,
    a_binary_publication_is_base64_live_resumed_and_in_the_history_whatever_its_bytes_are,
);

fn now_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    now.as_millis().try_into().expect("a time before the year 500,000,000")
}

/// Subscribes to `h:1` with `since`, and returns the answer.
async fn subscribe(client: &mut Client, since: Option<&str>) -> Value {
    let command = json!({"type": "subscribe", "id": 1, "channel": "h:1", "since": since});
    let answer = client.request(command).await;
    assert_eq!(answer["type"], "subscribed", "{answer}");
    answer
}

/// The newest publication of the channel's history.
async fn newest(client: &mut Client) -> Value {
    let command = json!({"type": "history", "id": 3, "channel": "h:1", "limit": 1});
    client.send_command(command).await;
    client.timed_answer(3).await["publications"][0].take()
}

/// A publication message as it is in a `history` reply.
fn listed(event: &Value) -> Value {
    let mut event = event.clone();
    let fields = event.as_object_mut().expect("an object");
    assert_eq!(fields.remove("type"), Some("publication".into()));
    assert_eq!(fields.remove("channel"), Some("h:1".into()));
    event
}

async fn a_publication_has_the_same_time_live_resumed_and_in_the_history(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut live, mut publisher) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut live, None).await;
    let started = now_millis();
    for number in [1, 2] {
        publisher
            .send_command(json!({"type": "publish", "id": 2, "channel": "h:1", "data": number}))
            .await;
        assert_eq!(publisher.timed_answer(2).await["type"], "published");
        let event = live.timed_event().await;
        let time = event["time"].as_u64().unwrap_or_else(|| panic!("no time in {event}"));
        assert!((started..=now_millis()).contains(&time), "{event}");
        for node in [a, b] {
            let mut late = Client::json(node).await;
            subscribe(&mut late, before["position"].as_str()).await;
            for _ in 1..number {
                late.timed_event().await;
            }
            assert_eq!(late.timed_event().await, event);
            assert_eq!(newest(&mut late).await, listed(&event));
        }
    }
    // Without history too.
    let (mut live, mut plain) =
        (Client::subscribed(a, "news").await, Client::plain(b, "news").await);
    plain.send(Message::text("hi")).await;
    let event = live.timed_event().await;
    assert!(event["time"].as_u64().is_some_and(|time| time >= started), "{event}");
}

async fn a_binary_publication_is_base64_live_resumed_and_in_the_history_whatever_its_bytes_are(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut live, mut publisher) = (Client::json(a).await, Client::plain(b, "h:1").await);
    let mut position = subscribe(&mut live, None).await["position"].clone();
    for (payload, base64) in
        [(&b"{\"n\":1}"[..], "eyJuIjoxfQ=="), (b"hi", "aGk="), (b"\xff", "/w==")]
    {
        publisher.send(Message::binary(payload)).await;
        let event = live.timed_event().await;
        assert_eq!(event["base64"], base64, "{event}");
        assert_eq!((event.get("data"), event.get("text")), (None, None), "{event}");
        let mut late = Client::json(a).await;
        subscribe(&mut late, position.as_str()).await;
        assert_eq!(late.timed_event().await, event);
        assert_eq!(newest(&mut late).await, listed(&event));
        position = event["position"].clone();
    }
}

#[tokio::test]
async fn a_services_publication_has_the_time_of_its_header_or_of_the_function_and_else_none() {
    let fleet = Fleet::redis(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let redis = fleet.server();
    let (mut live, mut news) = (Client::json(a).await, Client::subscribed(a, "news").await);
    subscribe(&mut live, None).await;

    redis.publish("news", "bare").await;
    assert_eq!(news.timed_event().await.get("time"), None);
    redis.publish("news", "\u{1e}{\"ts\":1763999999123456}\nwith a header line").await;
    assert_eq!(news.timed_event().await["time"], 1_763_999_999_123_u64);

    let publish = async |channel: &str, header: &str| {
        let key = format!("tidegate:{channel}");
        let _: Option<String> =
            redis.query(&["FCALL", "tidegate_publish", "1", &key, "hi", header]).await;
    };
    publish("h:1", r#"{"ts":1763999999123456}"#).await;
    assert_eq!(live.timed_event().await["time"], 1_763_999_999_123_u64);
    for (channel, header) in [("h:1", ""), ("h:1", "{}"), ("news", "{}")] {
        let before = now_millis();
        publish(channel, header).await;
        let client = if channel == "news" { &mut news } else { &mut live };
        let event = client.timed_event().await;
        let time = event["time"].as_u64().unwrap_or_else(|| panic!("no time in {event}"));
        // Redis' clock is this machine's.
        let allowed = before..=now_millis() + Duration::from_secs(1).as_millis() as u64;
        assert!(allowed.contains(&time), "{event}");
    }
    // Without header and history, the function publishes the payload as `PUBLISH` does.
    publish("news", "").await;
    assert_eq!(news.timed_event().await.get("time"), None);
}
