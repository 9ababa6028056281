//! `GET /sse?channel=A&channel=B`: several channels on one stream, with one id over all of them.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use testkit::event_stream::{EventStream, SseEvent};
use testkit::fleet::{Broker, for_every_broker};
use testkit::node::Node;
use testkit::process::Signal;
use testkit::raw::{BINARY, FIN, RawClient, frame};
use testkit::redis::Redis;
use testkit::{eventually, soon};

use super::{HISTORY, assert_gap, publish_all};

for_every_broker!(
    a_stream_of_several_channels_gets_json_publications_that_name_their_channel,
    a_stream_of_several_channels_cut_every_few_events_gets_each_publication_once_and_in_order,
    a_stream_of_other_channels_resumes_those_it_has_and_begins_the_others_without_a_gap,
    a_stream_cut_before_its_first_event_misses_nothing_on_channels_with_history,
);

const LONG_HISTORY: &str = r#"rules=[{pattern="h:*",history={size=200,age="10m"}},{pattern="**"}]"#;

/// Channel and number of a publication.
fn numbered(event: &SseEvent) -> (String, u64) {
    let json = event.json();
    assert_eq!((event.name.as_str(), &json["type"]), ("", &"publication".into()), "{event:?}");
    let channel = json["channel"].as_str().expect("a channel").to_owned();
    (channel, json["data"].as_u64().unwrap_or_else(|| panic!("a number: {event:?}")))
}

async fn publish(node: &Node, channel: &str, payload: impl ToString) {
    let path = format!("/api/publish/{channel}");
    let answer = node.post(&path, &[], payload.to_string().as_bytes()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Opens a stream and waits for its first id.
async fn open(node: &Node, path: &str, last_id: &str) -> EventStream {
    let mut stream = EventStream::open_after(node, path, last_id).await;
    stream.read_until(|stream| !stream.last_id.is_empty()).await;
    stream
}

async fn a_stream_of_several_channels_gets_json_publications_that_name_their_channel(
    broker: Broker,
) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let path = "/sse?channel=news&channel=h:1&channel=r%C3%A4ume/%231";
    let mut streams = [open(a, path, "").await, open(b, path, "").await];
    let mut publisher = RawClient::open(b, "/ws/news").await;
    let mut expected = Vec::new();
    for (payload, field) in [
        ("{\"b\": 1.0,\r\n \"a\":\"ü\"}", json!({"data": {"b": 1.0, "a": "ü"}})),
        ("two\nlines", json!({"text": "two\nlines"})),
        ("nul\0 \r", json!({"text": "nul\0 \r"})),
        ("", json!({"text": ""})),
    ] {
        publisher.send(testkit::raw::text(payload)).await;
        expected.push(field);
    }
    publisher.send(frame(FIN | BINARY, b"\xff\x00")).await;
    expected.push(json!({"base64": "/wA="}));
    for stream in &mut streams {
        for field in &expected {
            let event = stream.event().await;
            let json = event.json();
            assert_eq!((event.name.as_str(), &json["channel"]), ("", &"news".into()));
            for (name, value) in field.as_object().expect("an object") {
                assert_eq!(&json[name], value, "{event:?}");
            }
        }
    }
    publish(a, "h:1", 1).await;
    publish(a, "r%C3%A4ume/%231", 2).await;
    for stream in &mut streams {
        let mut both = [stream.event().await, stream.event().await];
        both.sort_by_key(|event| event.json()["data"].as_u64());
        assert_eq!(both.each_ref().map(|it| numbered(it).0), ["h:1", "räume/#1"]);
        assert!(both[0].json()["position"].is_string(), "{both:?}");
        assert!(both.iter().all(|event| !event.id.is_empty()));
    }
    let label = r#"tidegate_connections{protocol="sse",transport="sse"}"#;
    assert_eq!(fleet.metric(label).await, 2.);
}

async fn a_stream_of_several_channels_cut_every_few_events_gets_each_publication_once_and_in_order(
    broker: Broker,
) {
    const CHANNELS: usize = 5;
    const EACH: u64 = 100;
    let fleet = broker.fleet(&[LONG_HISTORY]).await;
    let [a, b] = fleet.nodes();
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("h:{number}")).collect();
    let query: Vec<String> = channels.iter().map(|name| format!("channel={name}")).collect();
    let path = format!("/sse?{}", query.join("&"));
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut last_id = open(a, &path, "").await.last_id;
    let publishing = async {
        for number in 1..=EACH {
            for channel in &channels {
                publish(b, channel, number).await;
            }
        }
    };
    let reading = async {
        let mut received: HashMap<String, Vec<u64>> = HashMap::new();
        let is_complete = |received: &HashMap<String, Vec<u64>>| {
            received.values().map(Vec::len).sum::<usize>() >= CHANNELS * EACH as usize
        };
        for node in [b, a].into_iter().cycle() {
            let mut stream = EventStream::open_after(node, &path, &last_id).await;
            for _ in 0..random.random_range(1..12) {
                if is_complete(&received) {
                    return (received, stream);
                }
                let event = stream.event().await;
                let (channel, number) = numbered(&event);
                received.entry(channel).or_default().push(number);
                last_id = event.id;
            }
        }
        unreachable!("the nodes are used in turn");
    };
    let ((), (received, mut last)) = tokio::join!(publishing, reading);
    for channel in &channels {
        let numbers: Vec<u64> = (1..=EACH).collect();
        assert_eq!(received[channel], numbers, "{channel}, seed {seed}");
    }
    publish(a, "h:0", 1000).await;
    assert_eq!(numbered(&last.event().await), ("h:0".to_owned(), 1000), "nothing came twice");
}

async fn a_stream_of_other_channels_resumes_those_it_has_and_begins_the_others_without_a_gap(
    broker: Broker,
) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let before = open(a, "/sse?channel=h:1&channel=h:2&channel=news", "").await;
    let last_id = before.last_id.clone();
    drop(before);
    for channel in ["h:1", "h:2", "h:3"] {
        publish_all(a, channel, 1..=2).await;
    }
    let mut stream =
        open(b, "/sse?channel=h:3&channel=news&channel=h:2&channel=fresh", &last_id).await;
    // The channel that keeps no history, then the backlog of the one that both have.
    assert_gap(&stream.event().await, "news", "not_recovered");
    for number in 1..=2 {
        assert_eq!(numbered(&stream.event().await), ("h:2".to_owned(), number));
    }
    publish(a, "fresh", 7).await;
    assert_eq!(numbered(&stream.event().await), ("fresh".to_owned(), 7));
    publish(a, "h:3", 3).await;
    assert_eq!(numbered(&stream.event().await), ("h:3".to_owned(), 3));
}

async fn a_stream_cut_before_its_first_event_misses_nothing_on_channels_with_history(
    broker: Broker,
) {
    let fleet = broker.fleet(&[HISTORY]).await;
    let [a, b] = fleet.nodes();
    let path = "/sse?channel=h:1&channel=h:2";
    let first = open(a, path, "").await;
    let last_id = first.last_id.clone();
    drop(first);
    publish_all(b, "h:2", 1..=1).await;
    publish_all(b, "h:1", 1..=1).await;
    // Cut again before the backlog has arrived: the first id of each stream resumes.
    drop(EventStream::open_after(b, path, &last_id).await);
    let mut from_query = EventStream::open(b, &format!("{path}&last_event_id={last_id}")).await;
    let mut seen = [numbered(&from_query.event().await), numbered(&from_query.event().await)];
    seen.sort();
    assert_eq!(seen, [("h:1".to_owned(), 1), ("h:2".to_owned(), 1)]);
}

#[tokio::test]
async fn a_stream_of_several_channels_resumes_after_a_restart_of_redis() {
    let mut redis = Redis::stopped_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    redis.run().await;
    let node = Node::on(&redis, &[HISTORY]).await;
    let other = Node::on(&redis, &[HISTORY]).await;
    let path = "/sse?channel=h:1&channel=h:2&channel=news";
    let mut stream = open(&node, path, "").await;
    publish_all(&node, "h:1", 1..=2).await;
    for number in 1..=2 {
        assert_eq!(numbered(&stream.event().await), ("h:1".to_owned(), number));
    }
    let last_id = stream.last_id.clone();
    redis.kill();
    node.wait_until_unready().await;
    let mut during = EventStream::open_after(&node, path, &last_id).await;
    let reconnect = during.event().await;
    assert_eq!(
        (reconnect.name.as_str(), &reconnect.json()["reason"]),
        ("reconnect", &"unavailable".into())
    );
    assert_eq!(during.try_event().await, None);
    assert_eq!(during.last_id, "", "the client keeps the id that it has");
    redis.run().await;
    for node in [&node, &other] {
        node.wait_until_ready().await;
    }
    publish_all(&other, "h:1", 3..=3).await;
    publish_all(&other, "h:2", 1..=1).await;
    let mut resumed = EventStream::open_after(&other, path, &last_id).await;
    let mut resumed_events = Vec::new();
    for _ in 0..3 {
        resumed_events.push(resumed.event().await);
    }
    let gaps = resumed_events.iter().filter(|it| it.name == "gap").collect::<Vec<_>>();
    assert_eq!(gaps.len(), 1, "{resumed_events:?}");
    assert_gap(gaps[0], "news", "not_recovered");
    // The stream that stayed open gets the same, and the gap of the channel without history.
    let mut stayed = Vec::new();
    for _ in 0..3 {
        stayed.push(stream.event().await);
    }
    for events in [&resumed_events, &stayed] {
        let numbers = events.iter().filter(|it| it.name.is_empty()).map(numbered);
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort();
        assert_eq!(numbers, [("h:1".to_owned(), 3), ("h:2".to_owned(), 1)], "{events:?}");
    }
}

#[tokio::test]
async fn a_stream_of_several_channels_resumed_after_its_rules_changed_gets_a_gap_where_history_ended()
 {
    let rules = |first: &str| {
        format!(
            r#"rules=[{{pattern="h:1"{first}}},{{pattern="h:2",history={{size=10,age="10m"}}}},{{pattern="**"}}]"#
        )
    };
    let [on, off] = [r#",history={size=10,age="10m"}"#, ""].map(rules);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, &on).expect("the file is written");
    let redis = Redis::start().await;
    let node = Node::with_config_file(&file, &[&format!("broker.url={}", redis.url())]).await;
    node.wait_until_ready().await;
    let path = "/sse?channel=h:1&channel=h:2";
    let mut stream = open(&node, path, "").await;
    for channel in ["h:1", "h:2"] {
        publish_all(&node, channel, 1..=1).await;
        assert_eq!(numbered(&stream.event().await), (channel.to_owned(), 1));
    }
    let last_id = stream.last_id.clone();
    drop(stream);
    let reload = async |rules: &str| {
        let metric = r#"tidegate_config_reloads_total{outcome="taken_up"}"#;
        let before = node.metric(metric).await;
        std::fs::write(&file, rules).expect("the file is written");
        node.signal(Signal::HUP);
        eventually("a reload", async || (node.metric(metric).await > before).then_some(())).await;
    };
    reload(&off).await;
    publish(&node, "h:1", 2).await;
    publish_all(&node, "h:2", 2..=2).await;
    let mut stream = EventStream::open_after(&node, path, &last_id).await;
    assert_gap(&stream.event().await, "h:1", "not_recovered");
    assert_eq!(numbered(&stream.event().await), ("h:2".to_owned(), 2));
    let without_history = stream.last_id.clone();
    drop(stream);
    // With history again: what was published meanwhile is in none.
    reload(&on).await;
    let mut stream = EventStream::open_after(&node, path, &without_history).await;
    assert_gap(&stream.event().await, "h:1", "not_recovered");
    publish_all(&node, "h:1", 3..=3).await;
    assert_eq!(numbered(&stream.event().await), ("h:1".to_owned(), 3));
}

#[tokio::test]
async fn a_slow_stream_cut_while_latest_publications_were_held_back_loses_none_on_its_other_channel()
 {
    const RULES: &str = r#"rules=[
        {pattern="price",delivery="latest",history={size=5000,age="10m"}},
        {pattern="log",history={size=5000,age="10m"}},{pattern="**"}]"#;
    const SKIPPED: &str = "tidegate_publications_skipped_total";
    let node = Node::standalone(&[RULES, "session.queue_bytes_max=16MiB"]).await;
    let path = "/sse?channel=price&channel=log";
    let mut stream = EventStream::with_small_buffer(&node, path).await;
    stream.read_until(|stream| !stream.last_id.is_empty()).await;
    let filler = "x".repeat(16 << 10);
    let mut sent = 0;
    while node.metric(SKIPPED).await < 20. {
        for _ in 0..20 {
            sent += 1;
            publish(&node, "price", json!([sent, filler])).await;
            publish(&node, "log", json!([sent, ""])).await;
        }
        assert!(sent < 4000, "no publication was skipped");
    }
    let (mut log, mut price) = (Vec::new(), 0);
    let mut taken = 0;
    while log.len() as u64 != sent || price != sent {
        let event = stream.event().await;
        let json = event.json();
        let number = json["data"][0].as_u64().unwrap_or_else(|| panic!("a number: {event:?}"));
        if json["channel"] == "log" {
            log.push(number);
        } else {
            assert!(number > price, "{number} after {price}");
            price = number;
        }
        taken += 1;
        // Also where the newest price overtakes older ones.
        if taken % 25 == 0 {
            stream = EventStream::open_after(&node, path, &event.id).await;
        }
    }
    assert_eq!(log, (1..=sent).collect::<Vec<_>>(), "in order and once");
}

#[tokio::test]
async fn a_slow_stream_of_several_channels_is_cut_off_and_counted() {
    const SLOW: &str = r#"tidegate_slow_consumers_total{action="closed"}"#;
    let node = Node::standalone(&[HISTORY, "session.queue_bytes_max=64KiB"]).await;
    let mut slow = EventStream::with_small_buffer(&node, "/sse?channel=h:1&channel=news").await;
    let filler = "x".repeat(16 << 10);
    let mut sent = 0;
    while node.metric(SLOW).await == 0. {
        for channel in ["h:1", "news"] {
            publish(&node, channel, json!(filler)).await;
            sent += 1;
        }
        assert!(sent < 4000, "the slow consumer was not cut off");
    }
    let mut received = 0;
    while let Some(event) = slow.try_event().await {
        assert_eq!(event.json()["data"], filler.as_str());
        received += 1;
    }
    assert!(received < sent);
    node.wait_for_metric("tidegate_outbound_queue_bytes", 0.).await;
}

#[tokio::test]
async fn a_draining_node_sends_a_stream_of_several_channels_a_reconnect_event_and_heartbeats_before()
 {
    let mut node =
        Node::standalone(&["session.ping_interval=100ms", "drain.delay=0s", "drain.period=1s"])
            .await;
    let mut stream = EventStream::open(&node, "/sse?channel=a&channel=b").await;
    stream.read_until(|stream| stream.comments >= 3).await;
    let retry = stream.retry.expect("the stream sends a retry time");
    assert!((1000..3000).contains(&retry), "{retry}");
    node.signal(Signal::TERM);
    let reconnect = stream.event().await;
    assert_eq!(
        (reconnect.name.as_str(), &reconnect.json()["reason"]),
        ("reconnect", &"drain".into())
    );
    assert_eq!(stream.try_event().await, None);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn invalid_requests_for_several_channels_are_answered_with_an_error_that_names_the_fault() {
    let node = Node::standalone(&["session.channels_max=3"]).await;
    let stream = open(&node, "/sse?channel=a&channel=b", "").await;
    let id = stream.last_id.clone();
    let cut = &id[..id.len() - 2];
    let long = format!("/sse?channel={}", "%C3%A4".repeat(2200));
    for (path, headers, named) in [
        ("/sse", String::new(), "must name a channel"),
        ("/sse?channel", String::new(), "channel: a channel name"),
        ("/sse?channel=", String::new(), "channel: a channel name"),
        (
            "/sse?channel=a&channel=b%20c",
            String::new(),
            "without white space or control characters: b%20c",
        ),
        ("/sse?channel=a&channel=%zz", String::new(), "percent-encoding is invalid: %zz"),
        ("/sse?channel=a&channel=b&channel=%61", String::new(), "give each channel once: a"),
        ("/sse?channel=a&channel=b&channel=c&channel=d", String::new(), "at most 3 channels"),
        ("/sse?channel=a&last_event_id=1-1", String::new(), "last_event_id: not the id"),
        ("/sse?channel=a", "Last-Event-ID: 1-1\r\n".to_owned(), "Last-Event-ID: not the id"),
        ("/sse?channel=a", format!("Last-Event-ID: {cut}\r\n"), "Last-Event-ID: not the id"),
        ("/sse?channel=a&channel=b&since=first", String::new(), "since and last are for a stream"),
        ("/sse?channel=a&channel=b&last=20", String::new(), "since and last are for a stream"),
        (&long, String::new(), "a channel name"),
    ] {
        let refused = EventStream::request(node.public, path, &headers).await.err();
        let refused = refused.unwrap_or_else(|| panic!("{path} was accepted"));
        let error = &refused.json()["error"];
        assert_eq!((refused.status, &error["code"]), (400, &"bad_request".into()), "{path}");
        assert!(error["message"].as_str().is_some_and(|it| it.contains(named)), "{path}: {error}");
    }
    drop(stream);
    node.wait_for_metric("tidegate_connections", 0.).await;
}

#[tokio::test]
async fn a_stream_of_128_channels_with_long_names_resumes_and_one_that_could_not_is_refused() {
    let node = Node::standalone(&[r#"rules=[{pattern="**",history={size=10,age="10m"}}]"#]).await;
    let path = |length: usize| {
        let name = |number: usize| format!("channel={number:0length$}");
        format!("/sse?{}", (0..128).map(name).collect::<Vec<_>>().join("&"))
    };
    let long = path(60);
    let last_id = open(&node, &long, "").await.last_id;
    assert!(last_id.len() > 2000, "{}", last_id.len());
    publish(&node, &format!("{:060}", 127), 1).await;
    let mut stream = EventStream::open_after(&node, &long, &last_id).await;
    assert_eq!(numbered(&stream.event().await).1, 1);
    let refused = EventStream::request(node.public, &path(90), "").await.err().expect("refused");
    let message = refused.json()["error"]["message"].to_string();
    assert!(refused.status == 400 && message.contains("so that a browser can resume"), "{message}");
}

#[tokio::test]
async fn a_denied_channel_among_several_refuses_the_stream_and_is_named() {
    const RULES: &str = r#"rules=[
        { pattern = "lobby", subscribe = "anyone", publish = "nobody" },
        { pattern = "chat:*", subscribe = "token", publish = "nobody" }]"#;
    let node = Node::standalone(&[testkit::token::KEYS, RULES]).await;
    let token = testkit::token::for_user("ada", &["chat:1"]);
    for (query, token, status, named) in [
        ("channel=lobby&channel=chat:1", "", 401, ": chat:1"),
        ("channel=lobby&channel=chat:1&channel=chat:2", &token, 403, ": chat:2"),
    ] {
        let path = format!("/sse?{query}&token={token}");
        let path = path.trim_end_matches("&token=");
        let refused = EventStream::request(node.public, path, "").await.err().expect("refused");
        let message: Value = refused.json()["error"]["message"].clone();
        assert_eq!(refused.status, status, "{message}");
        assert!(message.as_str().is_some_and(|it| it.ends_with(named)), "{message}");
    }
    let path = format!("/sse?channel=lobby&channel=chat:1&token={token}");
    let mut stream = EventStream::open(&node, &path).await;
    publish(&node, "chat:1", 1).await;
    assert_eq!(numbered(&stream.event().await), ("chat:1".to_owned(), 1));
    // The stream is one session of the user.
    assert_eq!(node.post("/api/disconnect?user=ada", &[], b"").await.status, 202);
    assert_eq!(soon("the end", stream.try_event()).await, None);
}
