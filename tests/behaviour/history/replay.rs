//! A new subscriber gets the channel's past: all that is kept (`"since":"first"`), or the newest (`last`).

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::client::Client;
use testkit::event_stream::EventStream;
use testkit::fleet::{Broker, for_every_broker};
use testkit::node::Node;
use testkit::raw::{RawClient, upgrade};

use super::{LONG, Position, RULES, publication, publish, publish_all, subscribe, subscribed};

for_every_broker!(
    since_first_replays_the_whole_history_and_then_new_publications,
    since_first_of_a_trimmed_history_replays_the_rest_and_is_not_recovered,
    since_first_is_not_recovered_once_publications_are_too_old,
    since_first_of_a_history_without_publications_is_recovered,
    last_replays_the_newest_publications_oldest_first_and_then_new_ones,
    clients_that_join_while_others_publish_get_every_publication_once_in_order,
    each_channel_of_a_list_is_replayed_from_its_own_start,
    a_channel_without_history_replays_nothing,
    a_repeated_subscribe_replays_nothing,
    a_start_that_is_not_allowed_is_a_bad_request,
);

/// Subscribes to `h:1` with these fields, and returns the next event, which is the answer.
async fn start(client: &mut Client, fields: Value) -> Value {
    let mut command = json!({"type": "subscribe", "id": 1, "channel": "h:1"});
    for (name, value) in fields.as_object().expect("an object") {
        command[name] = value.clone();
    }
    client.send_command(command).await;
    client.event().await
}

/// Expects the publications with these numbers. `first`: the position of the number 1.
async fn expect(client: &mut Client, numbers: RangeInclusive<u64>, first: Position) {
    for number in numbers {
        assert_eq!(client.event().await, publication("h:1", number, first.plus(number - 1)));
    }
}

/// Expects that nothing is queued for the client.
async fn expect_nothing(client: &mut Client) {
    client.send_command(json!({"type": "ping", "id": 9})).await;
    assert_eq!(client.event().await["type"], "pong");
}

/// The answer to `last`, which has no `recovered`.
fn subscribed_at(position: Position) -> Value {
    let position = position.to_string();
    json!({"type": "subscribed", "id": 1, "channel": "h:1", "position": position})
}

async fn since_first_replays_the_whole_history_and_then_new_publications(broker: Broker) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    let mut count = 1;
    // A few, as many as are queued at once, and more than a page.
    for more in [3, 33, 300] {
        let last = publish_all(&mut publisher, "h:1", count + 1..=count + more).await;
        count += more;
        let mut joined = Vec::new();
        for node in [a, b, a] {
            let mut client = Client::json(node).await;
            let answer = start(&mut client, json!({"since": "first"})).await;
            assert_eq!(answer, subscribed("h:1", last, true));
            expect(&mut client, 1..=count, first).await;
            joined.push(client);
        }
        count += 1;
        publish(&mut publisher, "h:1", count).await;
        for mut client in joined {
            expect(&mut client, count..=count, first).await;
        }
    }
}

async fn since_first_of_a_trimmed_history_replays_the_rest_and_is_not_recovered(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let mut early = Client::json(b).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    // Node B has the history in memory from its beginning on.
    assert_eq!(start(&mut early, json!({"since": "first"})).await["recovered"], true);
    let last = publish_all(&mut publisher, "h:1", 2..=400).await;
    for node in [b, a] {
        let mut client = Client::json(node).await;
        let answer = start(&mut client, json!({"since": "first"})).await;
        assert_eq!(answer, subscribed("h:1", last, false));
        let begin = client.event().await["data"].as_u64().expect("a number");
        let kept = 400 - begin + 1;
        assert!((50..=150).contains(&kept), "{kept} publications were kept");
        expect(&mut client, begin + 1..=400, first).await;
        expect_nothing(&mut client).await;
    }
}

async fn since_first_is_not_recovered_once_publications_are_too_old(broker: Broker) {
    let rules = r#"rules=[{pattern="h:*",history={size=5000,age="1s"}},{pattern="**"}]"#;
    let fleet = broker.fleet(&[rules]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    let mut joined = Client::json(b).await;
    assert_eq!(start(&mut joined, json!({"since": "first"})).await["recovered"], true);
    // The channel is never silent for so long that its whole history expires.
    let mut number = 1;
    let kept_from = loop {
        number += 1;
        publish(&mut publisher, "h:1", number).await;
        let query = json!({"type": "history", "id": 6, "channel": "h:1", "limit": 1000});
        let answer = publisher.request(query).await;
        match answer["publications"][0]["data"].as_u64() {
            Some(kept) if kept > 1 => break kept,
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    for node in [b, a] {
        let mut client = Client::json(node).await;
        let answer = start(&mut client, json!({"since": "first"})).await;
        assert_eq!(answer["recovered"], false, "{answer}");
        // More may have expired meanwhile.
        number += 1;
        publish(&mut publisher, "h:1", number).await;
        let begin = client.event().await["data"].as_u64().expect("a number");
        assert!(begin >= kept_from, "{begin} had expired before {kept_from}");
        expect(&mut client, begin + 1..=number, first).await;
    }
}

async fn since_first_of_a_history_without_publications_is_recovered(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let before = subscribe(&mut Client::json(a).await, "h:1").await;
    let mut client = Client::json(b).await;
    let answer = start(&mut client, json!({"since": "first"})).await;
    assert_eq!(answer, subscribed("h:1", before, true));
    let mut publisher = Client::json(a).await;
    publish(&mut publisher, "h:1", 1).await;
    expect(&mut client, 1..=1, before.plus(1)).await;
}

async fn last_replays_the_newest_publications_oldest_first_and_then_new_ones(broker: Broker) {
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    let last = publish_all(&mut publisher, "h:1", 2..=300).await;
    let mut joined = Vec::new();
    for (node, count, expected) in
        [(a, 1, 1), (b, 20, 20), (b, 5, 5), (a, 200, 200), (b, 1000, 300), (a, 128, 128)]
    {
        let mut client = Client::json(node).await;
        assert_eq!(start(&mut client, json!({"last": count})).await, subscribed_at(last));
        expect(&mut client, 301 - expected..=300, first).await;
        joined.push(client);
    }
    publish(&mut publisher, "h:1", 301).await;
    for client in &mut joined {
        expect(client, 301..=301, first).await;
    }
    // The own publications are left out, and count nevertheless.
    let answer = start(&mut publisher, json!({"last": 2, "echo": false})).await;
    assert_eq!(answer, subscribed_at(last.plus(1)));
    expect_nothing(&mut publisher).await;
}

async fn clients_that_join_while_others_publish_get_every_publication_once_in_order(
    broker: Broker,
) {
    const COUNT: u64 = 400;
    let fleet = broker.fleet(&[LONG]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let first = publish(&mut publisher, "h:1", 1).await;
    let join = async |node: &Node, at: u64, fields: Value| {
        let mut client = Client::json(node).await;
        // Joins once that many are published.
        let mut watcher = Client::json(node).await;
        start(&mut watcher, json!({"since": "first"})).await;
        while watcher.event().await["data"] != at {}
        let answer = start(&mut client, fields).await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
        let begin = match answer.get("recovered") {
            Some(recovered) => {
                assert_eq!(recovered, true, "{answer}");
                1
            }
            None => Position::of(&answer).seq - first.seq + 1 - 9,
        };
        expect(&mut client, begin..=COUNT, first).await;
    };
    let fields = |it: u64| match it % 2 {
        0 => json!({"since": "first"}),
        _ => json!({"last": 10}),
    };
    let clients = (0..16).map(|it| join([a, b][it as usize % 2], 20 * (it + 1), fields(it)));
    let clients = join_all(clients);
    tokio::join!(publish_all(&mut publisher, "h:1", 2..=COUNT), clients);
}

async fn each_channel_of_a_list_is_replayed_from_its_own_start(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(a).await;
    let mut positions = Vec::new();
    for channel in ["h:1", "h:2", "h:3", "h:4"] {
        positions.push(publish(&mut publisher, channel, 1).await);
        publish_all(&mut publisher, channel, 2..=3).await;
    }
    let mut client = Client::json(b).await;
    let channels = json!({
        "h:1": "first", "h:2": {"last": 1}, "h:3": positions[2].to_string(), "h:4": null,
        "h:5": {"last": 0}, "h:6": 5,
    });
    client.send_command(json!({"type": "subscribe", "id": 1, "channels": channels})).await;
    let mut numbers = std::collections::HashMap::<String, Vec<u64>>::new();
    let mut recovered = Vec::new();
    let mut refused = Vec::new();
    for _ in 0..6 + 3 + 1 + 2 {
        let event = client.event().await;
        let channel = event["channel"].as_str().expect("a channel").to_owned();
        match event["type"].as_str() {
            Some("publication") => {
                numbers.entry(channel).or_default().push(event["data"].as_u64().expect("a number"));
            }
            Some("subscribed") => {
                recovered.push((channel, event.get("recovered").and_then(Value::as_bool)));
            }
            _ => refused.push((channel, event["code"].clone())),
        }
    }
    recovered.sort();
    let expected = [("h:1", Some(true)), ("h:2", None), ("h:3", Some(true)), ("h:4", None)];
    assert_eq!(recovered, expected.map(|(channel, value)| (channel.to_owned(), value)));
    assert_eq!((&numbers["h:1"], &numbers["h:2"]), (&vec![1, 2, 3], &vec![3]));
    assert_eq!((&numbers["h:3"], numbers.get("h:4")), (&vec![2, 3], None));
    assert!(refused.iter().all(|(_, code)| code == "bad_request"), "{refused:?}");
    assert_eq!(refused.len(), 2, "{refused:?}");
}

async fn a_channel_without_history_replays_nothing(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, _] = fleet.nodes();
    // A channel each: a node stays subscribed for a moment after its last client, and "before" would reach it.
    for (channel, fields, recovered) in
        [("news", json!({"since": "first"}), Some(false)), ("sport", json!({"last": 5}), None)]
    {
        let mut client = Client::json(a).await;
        client.publish(channel, json!("before")).await;
        let mut command = json!({"type": "subscribe", "id": 1, "channel": channel});
        let mut expected = json!({"type": "subscribed", "id": 1, "channel": channel});
        command.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        if let Some(recovered) = recovered {
            expected["recovered"] = recovered.into();
        }
        assert_eq!(client.request(command).await, expected);
        client.publish(channel, json!("after")).await;
        assert_eq!(client.event().await["data"], "after");
    }
}

async fn a_repeated_subscribe_replays_nothing(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    let last = publish_all(&mut client, "h:1", 1..=3).await;
    assert_eq!(subscribe(&mut client, "h:1").await, last);
    let answer = start(&mut client, json!({"since": "first"})).await;
    assert_eq!(answer, subscribed("h:1", last, false));
    assert_eq!(start(&mut client, json!({"last": 2})).await, subscribed_at(last));
    expect_nothing(&mut client).await;
}

async fn a_start_that_is_not_allowed_is_a_bad_request(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, _] = fleet.nodes();
    let mut client = Client::json(a).await;
    for (fields, part) in [
        (json!({"since": "first", "last": 5}), "either since or last"),
        (json!({"since": "newest"}), "`first`"),
        (json!({"last": 0}), "1 to 1000"),
        (json!({"last": 1001}), "1 to 1000"),
        (json!({"last": -1}), "1 to 1000"),
        (json!({"last": 1.5}), "last must be a whole number"),
        (json!({"last": "5"}), "last must be a whole number"),
    ] {
        let error = start(&mut client, fields.clone()).await;
        assert_eq!(error["code"], "bad_request", "{fields}: {error}");
        assert!(error["message"].as_str().is_some_and(|it| it.contains(part)), "{fields}: {error}");
    }
}

#[tokio::test]
async fn the_query_of_plain_sessions_and_sse_streams_asks_for_the_past() {
    let node = Node::standalone(&[LONG]).await;
    let mut publisher = Client::json(&node).await;
    publish_all(&mut publisher, "h:1", 1..=40).await;
    for (query, begin) in [("since=first", 1), ("last=3", 38), ("last=1000", 1)] {
        let mut plain = Client::open(&node, &format!("/ws/h:1?{query}")).await;
        for number in begin..=40 {
            assert_eq!(plain.receive_text().await, number.to_string(), "{query}");
        }
        let recovered = plain.response.headers().get("tidegate-recovered");
        let expected = query.starts_with("since").then_some("true");
        assert_eq!(recovered.map(|it| it.to_str().unwrap()), expected, "{query}");
        let mut stream = EventStream::open(&node, &format!("/sse/h:1?{query}")).await;
        for number in begin..=40 {
            assert_eq!(stream.event().await.data, number.to_string(), "{query}");
        }
    }
    for query in ["since=first&last=3", "last=0", "last=1001", "last=x", "since=latest"] {
        let mut raw = RawClient::connect(&node).await;
        raw.send(upgrade(&format!("/ws/h:1?{query}"), "")).await;
        let response = raw.response().await;
        assert_eq!(response.status, 400, "{query}");
        assert!(response.text().contains("bad_request"), "{}", response.text());
        let path = format!("/sse/h:1?{query}");
        let Err(response) = EventStream::request(node.public, &path, "").await else {
            panic!("{path} is a stream");
        };
        assert_eq!(response.status, 400, "{query}");
    }
}
