//! Runs with `merge = "text"`: subscribers get the run's texts joined, and together the same text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::client::Client;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;
use testkit::raw::{RawClient, text};

for_simple_brokers!(
    live_publications_of_a_merged_run_are_joined_to_one_each_rollup,
    a_late_subscriber_of_a_merged_run_gets_the_text_in_few_pieces,
    a_client_that_resumes_within_a_piece_of_a_merged_run_gets_exactly_the_rest,
    a_subscriber_that_joins_between_two_pieces_gets_no_text_twice,
    a_slow_subscriber_of_a_merged_run_stays_connected_and_gets_the_whole_text,
    a_token_that_is_json_reaches_json_subscribers_of_a_merged_run_as_text,
    typed_parts_are_joined_within_their_block_only,
    the_end_of_a_merged_run_comes_after_all_that_its_worker_has_published,
);

const RULES: &str = r#"rules=[{pattern="run:*",history={size=100000,age="10m"},run={lease="1h",merge="text",rollup="300ms"}}]"#;

/// The text of a publication, which on a merged run is never `data`.
fn text_of(event: &Value) -> &str {
    assert_eq!(event["type"], "publication", "{event}");
    event["text"].as_str().unwrap_or_else(|| panic!("no text in {event}"))
}

/// Receives publications until their text has this length. Returns it, and how many there were.
async fn read_text(client: &mut Client, bytes: usize) -> (String, usize) {
    let (mut read, mut count) = (String::new(), 0);
    while read.len() < bytes {
        read += text_of(&client.event().await);
        count += 1;
    }
    (read, count)
}

fn token(number: usize) -> String {
    format!("t{number} ")
}

/// A client that gets what is published from now on.
async fn subscribed(node: &Node) -> Client {
    let mut client = Client::json(node).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "channel": "run:1"});
    assert_eq!(client.request(subscribe).await["type"], "subscribed");
    client
}

/// Publishes a token and returns its position.
async fn publish_text(publisher: &mut Client, token: &str) -> Value {
    let publish = json!({"type": "publish", "id": 1, "channel": "run:1", "text": token});
    let published = publisher.request(publish).await;
    assert_eq!(published["type"], "published", "{published}");
    published["position"].clone()
}

async fn publish_tokens(publisher: &mut Client, numbers: std::ops::Range<usize>) -> String {
    let mut all = String::new();
    for number in numbers {
        publish_text(publisher, &token(number)).await;
        all += &token(number);
    }
    all
}

async fn live_publications_of_a_merged_run_are_joined_to_one_each_rollup(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut subscriber = subscribed(a).await;
    let mut publisher = Client::json(b).await;
    let sent = publish_tokens(&mut publisher, 0..200).await;
    let (read, count) = read_text(&mut subscriber, sent.len()).await;
    assert_eq!(read, sent);
    assert!(count < 100, "{count} frames for 200 publications");
}

async fn a_late_subscriber_of_a_merged_run_gets_the_text_in_few_pieces(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    let sent = publish_tokens(&mut publisher, 0..300).await;
    let mut late = Client::json(a).await;
    late.send_command(json!({"type": "subscribe", "id": 1, "channel": "run:1", "since": "first"}))
        .await;
    let subscribed = late.event().await;
    assert_eq!(
        (&subscribed["type"], &subscribed["recovered"]),
        (&json!("subscribed"), &json!(true))
    );
    let first = late.event().await;
    assert_eq!(text_of(&first), sent, "one piece");
    assert_eq!(first["position"], subscribed["position"]);
}

async fn a_client_that_resumes_within_a_piece_of_a_merged_run_gets_exactly_the_rest(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    let mut positions = Vec::new();
    for number in 0..20 {
        positions.push(publish_text(&mut publisher, &token(number)).await);
    }
    for since in [0, 7, 18] {
        let mut client = Client::json(a).await;
        let position = positions[since].clone();
        client
            .send_command(json!({"type": "subscribe", "channel": "run:1", "since": position}))
            .await;
        assert_eq!(client.event().await["recovered"], true);
        let rest: String = (since + 1..20).map(token).collect();
        assert_eq!(read_text(&mut client, rest.len()).await.0, rest);
    }
}

async fn a_subscriber_that_joins_between_two_pieces_gets_no_text_twice(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    let mut first = subscribed(a).await;
    let mut sent = publish_tokens(&mut publisher, 0..10).await;
    // Node A has delivered the first token and waits with the others when these clients come.
    let mut joined = Vec::new();
    for number in 10..30 {
        let mut client = Client::json(a).await;
        let subscribe = json!({"type": "subscribe", "channel": "run:1", "since": "first"});
        client.send_command(subscribe).await;
        assert_eq!(client.event().await["recovered"], true);
        joined.push(client);
        sent += &publish_tokens(&mut publisher, number..number + 1).await;
    }
    assert_eq!(read_text(&mut first, sent.len()).await.0, sent);
    for mut client in joined {
        assert_eq!(read_text(&mut client, sent.len()).await.0, sent);
    }
}

async fn a_slow_subscriber_of_a_merged_run_stays_connected_and_gets_the_whole_text(broker: Broker) {
    let rules = RULES.replace("300ms", "10ms");
    // It reads nothing for a while, pings neither.
    let settings = [&rules, "session.queue_bytes_max=64KiB", "session.ping_interval=10m"];
    let fleet = broker.fleet(&settings).await;
    let [a, b] = fleet.nodes();
    let mut slow = RawClient::with_small_buffer(a, "/ws").await;
    slow.message().await;
    slow.send(text(r#"{"type":"subscribe","id":1,"channel":"run:1"}"#)).await;
    slow.message().await;
    let mut publisher = Client::json(b).await;
    let (mut sent, mut count) = (String::new(), 0);
    while a.metric(r#"tidegate_slow_consumers_total{action="behind"}"#).await < 1. || count < 2000 {
        for _ in 0..20 {
            let part = format!("{count}{}", "x".repeat(4000));
            publish_text(&mut publisher, &part).await;
            sent += &part;
            count += 1;
        }
        assert!(count < 20_000, "the subscriber never fell behind");
    }
    let mut read = String::new();
    while read.len() < sent.len() {
        let event: Value = serde_json::from_slice(&slow.message().await.payload).expect("JSON");
        read += text_of(&event);
    }
    assert!(read == sent, "the text differs");
    publish_text(&mut publisher, "live").await;
    let event: Value = serde_json::from_slice(&slow.message().await.payload).expect("JSON");
    assert_eq!(text_of(&event), "live");
    assert_eq!(fleet.metric(r#"tidegate_slow_consumers_total{action="closed"}"#).await, 0.);
}

async fn a_token_that_is_json_reaches_json_subscribers_of_a_merged_run_as_text(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut subscriber = subscribed(a).await;
    let mut publisher = Client::json(b).await;
    let tokens = [" 12", ".50", "{}", "null", "\"quoted\""];
    for token in tokens {
        publish_text(&mut publisher, token).await;
    }
    let sent = tokens.concat();
    assert_eq!(read_text(&mut subscriber, sent.len()).await.0, sent);
    subscriber.send_command(json!({"type": "history", "channel": "run:1", "limit": 10})).await;
    let history = subscriber.event().await;
    let kept: Vec<&Value> =
        history["publications"].as_array().unwrap().iter().map(|it| &it["text"]).collect();
    assert_eq!(kept, tokens);
}

async fn typed_parts_are_joined_within_their_block_only(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut publisher = Client::json(b).await;
    let delta = |id: &str, text: &str| json!({"type": "text-delta", "id": id, "delta": text});
    let parts = [
        json!({"type": "text-start", "id": "a"}),
        delta("a", "Hel"),
        delta("a", "lo"),
        json!({"type": "text-end", "id": "a"}),
        delta("b", "!"),
    ];
    for part in parts {
        let publish = json!({"type": "publish", "id": 1, "channel": "run:1", "data": part});
        assert_eq!(publisher.request(publish).await["type"], "published");
    }
    let mut late = Client::json(a).await;
    late.send_command(json!({"type": "subscribe", "channel": "run:1", "since": "first"})).await;
    late.event().await;
    let expected = [
        json!({"type": "text-start", "id": "a"}),
        delta("a", "Hello"),
        json!({"type": "text-end", "id": "a"}),
        delta("b", "!"),
    ];
    for part in expected {
        assert_eq!(late.event().await["data"], part);
    }
}

async fn the_end_of_a_merged_run_comes_after_all_that_its_worker_has_published(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let mut live = subscribed(a).await;
    // A service publishes text and ends the run: all is of the same publisher. Half a character is bytes.
    for payload in [&b"The "[..], b"tide ", b"\xc3", b"\xa9 ", b"comes ", b"in."] {
        let answer = b.post("/api/publish/run:1", &[], payload).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let answer = b.post("/api/end/run:1", &[], br#"{"reason":"done"}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut late = Client::json(a).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "channel": "run:1", "since": "first"});
    assert_eq!(late.request(subscribe).await["recovered"], true);
    for client in [&mut live, &mut late] {
        let mut read = Vec::new();
        loop {
            let event = client.event().await;
            if event["type"] == "ended" {
                break;
            }
            match event["base64"].as_str() {
                Some(base64) => read.extend(STANDARD.decode(base64).unwrap()),
                None => read.extend(text_of(&event).bytes()),
            }
        }
        assert_eq!(String::from_utf8(read).unwrap(), "The tide \u{e9} comes in.");
    }
}
