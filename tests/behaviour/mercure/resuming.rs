//! Section *Reconnection, State Reconciliation, and Event Sourcing*.

use testkit::event_stream::EventStream;
use testkit::fleet::{Broker, for_simple_brokers};
use testkit::node::Node;

use super::{HISTORY, MERCURE, follow, next, next_data, path, publish};

for_simple_brokers!(
    a_subscriber_that_reconnects_to_another_node_gets_what_it_missed_in_order_and_once,
    the_id_of_a_publishers_answer_resumes_and_earliest_replays_what_is_kept,
    a_subscriber_whose_id_is_gone_gets_a_gap_and_all_that_is_kept,
);

const SETTINGS: [&str; 2] = [MERCURE, HISTORY];
const A: &str = "https://kept.test/a";
const B: &str = "https://kept.test/b";

/// Opens a stream that continues after an id in the header.
async fn again(node: &Node, topics: &[&str], id: &str) -> EventStream {
    let header = format!("Last-Event-ID: {id}\r\n");
    let opened = EventStream::request(node.public, &path(topics), &header).await;
    opened.unwrap_or_else(|refused| panic!("refused: {refused:?}"))
}

fn ids_before(stream: &EventStream) -> [Option<&str>; 2] {
    ["last-event-id", "mercure-last-event-id"].map(|name| stream.header(name))
}

async fn a_subscriber_that_reconnects_to_another_node_gets_what_it_missed_in_order_and_once(
    broker: Broker,
) {
    let fleet = broker.fleet(&SETTINGS).await;
    let [a, b] = fleet.nodes();
    for topics in [&[A][..], &[A, B], &[B, "plain", A]] {
        let mut stream = follow(a, topics).await;
        publish(b, A, "1").await;
        assert_eq!(next_data(&mut stream).await, "1");
        let id = stream.last_id.clone();
        drop(stream);
        for data in ["2", "3"] {
            publish(a, A, data).await;
        }
        let of_both = [("topic", B), ("topic", A), ("data", "both")];
        assert_eq!(super::post(b, &of_both).await.status, 200);
        let mut stream = again(b, topics, &id).await;
        let whole = !topics.contains(&"plain");
        let expected = if whole { id.as_str() } else { "earliest" };
        assert_eq!(ids_before(&stream), [Some(expected); 2]);
        let mut got = Vec::new();
        while got.len() < 3 {
            match next(&mut stream).await {
                (name, data) if name.is_empty() => got.push(data),
                // A topic without history may have had updates.
                (name, data) => {
                    assert!(name == "gap" && data.contains("plain") && !whole, "{data}");
                }
            }
        }
        assert_eq!(got.iter().filter(|it| *it == "both").count(), 1, "{got:?}");
        got.retain(|it| it != "both");
        assert_eq!(got, ["2", "3"]);
        publish(a, A, "next").await;
        assert_eq!(next_data(&mut stream).await, "next");
    }
}

async fn the_id_of_a_publishers_answer_resumes_and_earliest_replays_what_is_kept(broker: Broker) {
    let fleet = broker.fleet(&SETTINGS).await;
    let [a, b] = fleet.nodes();
    publish(a, A, "1").await;
    let second = publish(b, A, "2").await;
    publish(a, A, "3").await;
    for (parameter, value) in [
        ("lastEventID", second.as_str()),
        ("last_event_id", &second),
        ("Last-Event-ID", &second),
        ("lastEventID", "earliest"),
    ] {
        let path = format!("{}&{parameter}={value}", path(&[A]));
        let mut stream = EventStream::open(b, &path).await;
        assert_eq!(ids_before(&stream), [Some(value); 2]);
        let expected: &[&str] = if value == "earliest" { &["1", "2", "3"] } else { &["3"] };
        for data in expected {
            assert_eq!(next_data(&mut stream).await, *data, "{path}");
        }
    }
    // The header of a reconnect is newer than the address.
    let path = format!("{}&lastEventID=earliest", path(&[A]));
    let header = format!("Last-Event-ID: {second}\r\n");
    let mut stream = EventStream::request(a.public, &path, &header).await.expect("a stream");
    assert_eq!(next_data(&mut stream).await, "3");
}

async fn a_subscriber_whose_id_is_gone_gets_a_gap_and_all_that_is_kept(broker: Broker) {
    let fleet = broker.fleet(&SETTINGS).await;
    let [a, b] = fleet.nodes();
    let first = publish(a, A, "1").await;
    for number in 2..=300 {
        publish(a, A, &number.to_string()).await;
    }
    for id in [first.as_str(), "9-9", "urn:uuid:of-another-hub"] {
        let mut stream = again(b, &[A], id).await;
        assert_eq!(ids_before(&stream), [Some("earliest"); 2], "{id}");
        let (name, gap) = next(&mut stream).await;
        assert_eq!(name, "gap", "{id}: {gap}");
        let mut number: u32 = next_data(&mut stream).await.parse().expect("a number");
        assert!(number > 1, "the first is trimmed");
        while number < 300 {
            number += 1;
            assert_eq!(next_data(&mut stream).await, number.to_string(), "{id}");
        }
    }
}

#[tokio::test]
async fn a_topic_without_history_tells_a_returning_subscriber_that_updates_may_be_missing() {
    let node = Node::standalone(&[MERCURE]).await;
    let mut stream = follow(&node, &["a"]).await;
    publish(&node, "a", "1").await;
    assert_eq!(next_data(&mut stream).await, "1");
    let mut stream = again(&node, &["a"], &stream.last_id).await;
    assert_eq!(ids_before(&stream), [Some("earliest"); 2]);
    assert_eq!(next(&mut stream).await.0, "gap");
    publish(&node, "a", "2").await;
    assert_eq!(next_data(&mut stream).await, "2");
}
