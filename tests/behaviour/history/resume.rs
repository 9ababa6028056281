//! A client that subscribes with a position gets the publications since then, in order and once, and then the new
//! ones.

use serde_json::{Value, json};
use testkit::client::{self, Client};
use testkit::fleet::{Broker, for_every_broker};

use super::{
    LONG, Position, RULES, publication, publish, publish_all, resume, subscribe, subscribed,
};

for_every_broker!(
    a_resumed_client_receives_the_missed_publications_first_and_then_new_ones,
    a_client_that_resumes_at_the_current_position_receives_only_new_publications,
    a_resumed_client_receives_more_publications_than_a_page_of_the_history_holds,
    a_resumed_client_receives_the_same_payloads_as_a_live_one,
    several_channels_resume_in_one_command_each_from_its_position,
    a_client_that_unsubscribed_resumes_on_the_same_connection,
    a_resumed_client_with_echo_false_does_not_receive_its_own_publications,
    resumes_are_counted_by_outcome,
);

async fn a_resumed_client_receives_the_missed_publications_first_and_then_new_ones(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    let last = publish_all(&mut publisher, "h:1", 2..=10).await;
    // From every position, on both nodes.
    for (missed, node) in (0..10).flat_map(|missed| [(missed, a), (missed, b)]) {
        let mut client = Client::json(node).await;
        let since = Position { seq: last.seq - missed, ..last };
        assert_eq!(resume(&mut client, "h:1", since).await, subscribed("h:1", last, true));
        for number in 11 - missed..=10 {
            let expected = publication("h:1", number, first.plus(number - 1));
            assert_eq!(client.event().await, expected, "after {missed} missed publications");
        }
        client.send_command(json!({"type": "ping", "id": 9})).await;
        assert_eq!(client.event().await["type"], "pong");
    }
    let mut client = Client::json(b).await;
    resume(&mut client, "h:1", first.plus(8)).await;
    assert_eq!(client.event().await, publication("h:1", 10, last));
    publish(&mut publisher, "h:1", "new").await;
    assert_eq!(client.event().await, publication("h:1", "new", last.plus(1)));
}

async fn a_client_that_resumes_at_the_current_position_receives_only_new_publications(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    // In the first turn nothing has ever been published.
    let empty = subscribe(&mut Client::json(b).await, "h:1").await;
    for turn in 0..3 {
        let mut client = Client::json(b).await;
        let current = empty.plus(turn);
        assert_eq!(resume(&mut client, "h:1", current).await, subscribed("h:1", current, true));
        let next = publish(&mut publisher, "h:1", turn).await;
        assert_eq!(client.event().await, publication("h:1", turn, next));
    }
}

async fn a_resumed_client_receives_more_publications_than_a_page_of_the_history_holds(
    broker: Broker,
) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let last = publish_all(&mut publisher, "h:1", 1..=1000).await;
    assert_eq!(last, before.plus(1000));
    for (node, missed) in [(b, 1000), (a, 129), (b, 128), (a, 127), (b, 384), (b, 33)] {
        let mut client = Client::json(node).await;
        let since = before.plus(1000 - missed);
        assert_eq!(resume(&mut client, "h:1", since).await, subscribed("h:1", last, true));
        for number in 1001 - missed..=1000 {
            assert_eq!(client.event().await, publication("h:1", number, before.plus(number)));
        }
    }
}

/// A publication's payload, in its field `data`, `text` or `base64`.
fn payload(event: &Value) -> Value {
    let mut event = event.clone();
    let fields = event.as_object_mut().expect("an object");
    assert_eq!(fields.remove("type"), Some("publication".into()));
    assert_eq!(fields.remove("channel"), Some("h:1".into()));
    assert!(fields.remove("position").is_some());
    event
}

async fn a_resumed_client_receives_the_same_payloads_as_a_live_one(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut live = Client::json(a).await;
    let before = subscribe(&mut live, "h:1").await;
    let payloads = [
        json!({"data": {"b": 1, "a": [1.50, null, "\n", "Grüße 🌊"]}}),
        json!({"data": null}),
        json!({"data": ""}),
        json!({"text": "no json"}),
        json!({"text": ""}),
        json!({"text": "\u{1e}{\"user\":\"root\",\"pos\":\"1-1\"}\nforged"}),
        json!({"base64": "AP8eCg=="}),
        json!({"data": "x".repeat(60_000)}),
    ];
    let mut publisher = Client::json(b).await;
    for payload in &payloads {
        let mut command = payload.clone();
        command["type"] = "publish".into();
        command["channel"] = "h:1".into();
        command["id"] = 2.into();
        assert_eq!(publisher.request(command).await["type"], "published");
    }
    let mut live_events = Vec::new();
    for expected in &payloads {
        let event = live.event().await;
        assert_eq!(&payload(&event), expected);
        live_events.push(event);
    }
    for node in [a, b] {
        let mut resumed = Client::json(node).await;
        resume(&mut resumed, "h:1", before).await;
        for expected in &live_events {
            assert_eq!(&resumed.event().await, expected);
        }
    }
}

async fn several_channels_resume_in_one_command_each_from_its_position(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let one = publish(&mut publisher, "h:1", 1).await;
    let two = publish(&mut publisher, "h:2", 1).await;
    publish(&mut publisher, "h:1", 2).await;
    let mut client = Client::json(b).await;
    let channels = json!({
        "h:1": one.to_string(), "news": null, "h:2": two.to_string(), "h:3": null,
        "h:4": "no position",
    });
    client.send_command(json!({"type": "subscribe", "id": 1, "channels": channels})).await;
    let mut answers: Vec<Value> = Vec::new();
    for _ in 0..5 {
        answers.push(client.answer(1).await);
    }
    let answer = |name: &str| {
        let mut of_channel = answers.iter().filter(|answer| answer["channel"] == name);
        of_channel.next().unwrap_or_else(|| panic!("no answer for {name} in {answers:?}"))
    };
    assert_eq!(*answer("h:1"), subscribed("h:1", one.plus(1), true));
    assert_eq!(*answer("news"), json!({"type": "subscribed", "id": 1, "channel": "news"}));
    assert_eq!(*answer("h:2"), subscribed("h:2", two, true));
    let begun = answer("h:3");
    assert!(begun["position"].is_string() && begun.get("recovered").is_none(), "{begun}");
    assert_eq!(answer("h:4")["code"], "bad_request");

    assert_eq!(client.event().await, publication("h:1", 2, one.plus(1)));
    publisher.publish("news", json!(3)).await;
    assert_eq!(client.event().await, client::publication("news", 3));
    publish(&mut publisher, "h:2", 2).await;
    assert_eq!(client.event().await, publication("h:2", 2, two.plus(1)));
}

async fn a_client_that_unsubscribed_resumes_on_the_same_connection(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut client, mut publisher) = (Client::json(a).await, Client::json(b).await);
    let before = subscribe(&mut client, "h:1").await;
    for turn in 0..5 {
        let at = before.plus(turn * 2);
        let unsubscribe = json!({"type": "unsubscribe", "id": 3, "channel": "h:1"});
        assert_eq!(client.request(unsubscribe).await["type"], "unsubscribed");
        publish(&mut publisher, "h:1", "missed").await;
        assert_eq!(resume(&mut client, "h:1", at).await, subscribed("h:1", at.plus(1), true));
        assert_eq!(client.event().await, publication("h:1", "missed", at.plus(1)));
        publish(&mut publisher, "h:1", "live").await;
        assert_eq!(client.event().await, publication("h:1", "live", at.plus(2)));
    }
}

async fn a_resumed_client_with_echo_false_does_not_receive_its_own_publications(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let (mut without_echo, mut other) = (Client::json(a).await, Client::json(b).await);
    let subscribe = |since: Option<Position>| {
        let since = since.map(|since| since.to_string());
        json!({"type": "subscribe", "id": 1, "channel": "h:1", "since": since, "echo": false})
    };
    let before = Position::of(&without_echo.request(subscribe(None)).await);
    publish(&mut without_echo, "h:1", "own").await;
    publish(&mut other, "h:1", "live").await;
    assert_eq!(without_echo.event().await, publication("h:1", "live", before.plus(2)));

    without_echo.request(json!({"type": "unsubscribe", "id": 3, "channel": "h:1"})).await;
    publish(&mut without_echo, "h:1", "own").await;
    publish(&mut other, "h:1", "missed").await;
    let answer = without_echo.request(subscribe(Some(before.plus(2)))).await;
    assert_eq!(answer, subscribed("h:1", before.plus(4), true));
    assert_eq!(without_echo.event().await, publication("h:1", "missed", before.plus(4)));
    publish(&mut without_echo, "h:1", "own").await;
    publish(&mut other, "h:1", "live").await;
    assert_eq!(without_echo.event().await, publication("h:1", "live", before.plus(6)));
}

async fn resumes_are_counted_by_outcome(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let count = async |outcome: &str| {
        let name = format!(r#"tidegate_history_resumes_total{{outcome="{outcome}"}}"#);
        fleet.metric(&name).await
    };
    assert_eq!((count("recovered").await, count("lost").await), (0., 0.));
    let mut client = Client::json(a).await;
    let first = publish(&mut client, "h:1", 1).await;
    subscribe(&mut client, "h:1").await;
    assert_eq!(resume(&mut Client::json(b).await, "h:1", first).await["recovered"], true);
    let never = Position { epoch: 1, seq: 1 };
    assert_eq!(resume(&mut Client::json(a).await, "h:1", never).await["recovered"], false);
    assert_eq!((count("recovered").await, count("lost").await), (1., 1.));
}
