//! A channel is one and the same to all protocols.

use serde_json::{Value, json};
use testkit::client::Client;
use testkit::event_stream::EventStream;
use testkit::fleet::{Broker, for_broker, for_every_broker};
use testkit::node::Node;
use testkit::redis::{Redis, query};

use super::{CLOSES, JSON, RULES, TEXT, append, ask, create, next_offset, read, refusal, refused};

for_every_broker!(
    what_is_appended_reaches_json_plain_and_sse_subscribers,
    what_is_published_is_read_by_offset,
    closing_a_stream_ends_it_for_every_subscriber_and_refuses_every_publication,
    deleting_a_stream_ends_it_and_a_new_one_has_none_of_its_messages,
    a_fork_continues_apart_from_what_it_was_forked_from,
);
for_broker!(
    sentinel,
    Sentinel,
    what_is_published_is_read_by_offset,
    closing_a_stream_ends_it_for_every_subscriber_and_refuses_every_publication,
);

async fn subscribed(node: &Node, channel: &str) -> Client {
    let mut client = Client::json(node).await;
    let answer =
        client.request(json!({"type": "subscribe", "id": 1, "channel": channel, "since": "first"}));
    assert_eq!(answer.await["type"], "subscribed");
    client
}

/// Publishes through the API.
async fn publish(node: &Node, channel: &str, payload: &str) -> u16 {
    node.post(&format!("/api/publish/{channel}"), &[], payload.as_bytes()).await.status
}

async fn what_is_appended_reaches_json_plain_and_sse_subscribers(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    create(a, "s:1", &[JSON], "[]").await;
    let mut json = subscribed(b, "s:1").await;
    let mut plain = Client::plain(a, "s:1").await;
    let mut events = EventStream::open(b, "/sse/s:1").await;
    append(a, "s:1", JSON, r#"[{"n":1}, [2], "three"]"#).await;
    for (value, payload) in
        [(json!({"n": 1}), r#"{"n":1}"#), (json!([2]), "[2]"), (json!("three"), r#""three""#)]
    {
        let publication = json.event().await;
        assert_eq!(publication["data"], value, "{publication}");
        assert_eq!(plain.receive_text().await, payload);
        assert_eq!(events.event().await.data, payload);
    }
}

async fn what_is_published_is_read_by_offset(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    // A worker may be faster than the client that makes a stream of its channel.
    assert_eq!(publish(a, "s:1", "zero ").await, 202);
    let first = create(b, "s:1", &[TEXT], "").await;
    assert_eq!(publish(a, "s:1", "one ").await, 202);
    append(b, "s:1", TEXT, "two ").await;
    assert_eq!(publish(b, "s:1", "three").await, 202);
    for node in [a, b] {
        assert_eq!(read(node, "s:1", "-1").await.0, "zero one two three");
        assert_eq!(read(node, "s:1", &first).await.0, "one two three");
    }
    create(a, "s:2", &[JSON], "").await;
    assert_eq!(publish(b, "s:2", "no json").await, 202);
    assert_eq!(publish(b, "s:2", r#"{"n":1}"#).await, 202);
    assert_eq!(read(a, "s:2", "-1").await.0, r#"["no json",{"n":1}]"#);
}

async fn closing_a_stream_ends_it_for_every_subscriber_and_refuses_every_publication(
    broker: Broker,
) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    create(a, "s:1", &[TEXT], "begin").await;
    let mut json = subscribed(b, "s:1").await;
    assert_eq!(json.event().await["text"], "begin");
    let mut events = EventStream::open(a, "/streams/s:1?offset=now&live=sse").await;
    assert_eq!(events.event().await.json()["upToDate"], true);
    let answer = ask(b, "POST", "s:1", &[TEXT, CLOSES], b" end").await;
    assert_eq!((answer.status, answer.header("stream-closed")), (204, Some("true")));
    assert_eq!(json.event().await["text"], " end");
    let ended = json.event().await;
    assert_eq!((&ended["type"], &ended["reason"]), (&json!("ended"), &json!("closed")));
    assert_eq!(events.event().await.data, " end");
    events.event().await;
    let last = events.event().await.json();
    assert_eq!(last["streamClosed"], true, "{last}");
    assert_eq!(last["streamNextOffset"], next_offset(&answer));
    for node in [a, b] {
        assert_eq!(publish(node, "s:1", "late").await, 409);
        let late = ask(node, "POST", "s:1", &[TEXT], b"late").await;
        assert_eq!(refusal(&late), refused(409, "ended"));
        assert_eq!(next_offset(&late), next_offset(&answer));
        let whole = ask(node, "GET", "s:1", &[], b"").await;
        assert_eq!(whole.text(), "begin end");
        assert_eq!(whole.header("stream-closed"), Some("true"));
    }
    // A worker ends its run, and the stream is closed.
    create(a, "s:2", &[TEXT], "x").await;
    let end = a.post("/api/end/s:2", &[], br#"{"reason":"done"}"#).await;
    assert_eq!(end.status, 200, "{end:?}");
    assert_eq!(ask(b, "HEAD", "s:2", &[], b"").await.header("stream-closed"), Some("true"));
}

async fn deleting_a_stream_ends_it_and_a_new_one_has_none_of_its_messages(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let first = create(a, "s:1", &[TEXT], "old").await;
    let mut json = subscribed(b, "s:1").await;
    assert_eq!(json.event().await["text"], "old");
    assert_eq!(ask(b, "DELETE", "s:1", &[], b"").await.status, 204);
    let ended = json.event().await;
    assert_eq!((&ended["type"], &ended["reason"]), (&json!("ended"), &json!("deleted")));
    for node in [a, b] {
        assert_eq!(ask(node, "GET", "s:1", &[], b"").await.status, 404);
        assert_eq!(ask(node, "DELETE", "s:1", &[], b"").await.status, 404);
    }
    create(b, "s:1", &[JSON], "[1]").await;
    for node in [a, b] {
        assert_eq!(read(node, "s:1", "-1").await.0, "[1]");
        let gone = ask(node, "GET", &format!("s:1?offset={first}"), &[], b"").await;
        assert_eq!(refusal(&gone), refused(410, "gone"));
    }
    // A subscriber that stayed gets what the new stream carries.
    append(a, "s:1", JSON, "2").await;
    loop {
        let event = json.event().await;
        if event["data"] == 2 {
            break;
        }
        assert!(event["type"] == "gap" || event["data"] == 1, "{event}");
    }
}

async fn a_fork_continues_apart_from_what_it_was_forked_from(broker: Broker) {
    let fleet = broker.fleet(&[RULES]).await;
    let [a, b] = fleet.nodes();
    let middle = create(a, "s:1", &[TEXT], "one").await;
    append(a, "s:1", TEXT, "two").await;
    // A subscriber of the fork that came before it.
    let mut early = Client::json(b).await;
    early.request(json!({"type": "subscribe", "id": 1, "channel": "s:2"})).await;
    let from = [("Stream-Forked-From", "/streams/s:1"), ("Stream-Fork-Offset", &middle)];
    create(b, "s:2", &from, "").await;
    assert_eq!(read(a, "s:2", "-1").await, ("one".to_owned(), middle.clone()));
    let next = append(a, "s:2", TEXT, "three").await;
    assert!(next > middle, "offsets grow: {middle} {next}");
    append(b, "s:1", TEXT, "four").await;
    for node in [a, b] {
        assert_eq!(read(node, "s:2", "-1").await.0, "onethree");
        assert_eq!(read(node, "s:2", &middle).await.0, "three");
        assert_eq!(read(node, "s:1", "-1").await.0, "onetwofour");
    }
    let texts = [early.event().await, append_and_receive(a, &mut early).await];
    assert!(texts.iter().any(|it| it["text"] == "three" || it["text"] == "five"), "{texts:?}");
    assert_eq!(ask(a, "DELETE", "s:1", &[], b"").await.status, 204);
    assert_eq!(refusal(&ask(b, "GET", "s:1", &[], b"").await), refused(410, "gone"));
    assert_eq!(read(b, "s:2", "-1").await.0, "onethreefive");
    assert_eq!(ask(b, "DELETE", "s:2", &[], b"").await.status, 204);
    assert_eq!(refusal(&ask(a, "GET", "s:1", &[], b"").await), refused(404, "not_found"));
}

async fn append_and_receive(node: &Node, client: &mut Client) -> Value {
    append(node, "s:2", TEXT, "five").await;
    client.event().await
}

#[tokio::test]
async fn a_service_publishes_into_a_stream_with_the_function_and_ends_it_on_redis() {
    let redis = Redis::start().await;
    let node = Node::on(&redis, &[RULES]).await;
    node.wait_until_ready().await;
    create(&node, "s:1", &[TEXT], "a").await;
    let call = async |words: &[&str]| {
        let reply: String = query(redis.address, words).await.expect("the call works");
        reply
    };
    call(&["FCALL", "tidegate_publish", "1", "tidegate:s:1", "b"]).await;
    // No worker renews a lease, and the stream stays open: a client has created it.
    call(&["FCALL", "tidegate_end", "1", "tidegate:s:1", "done", "c"]).await;
    let whole = ask(&node, "GET", "s:1", &[], b"").await;
    assert_eq!((whole.text().as_str(), whole.header("stream-closed")), ("abc", Some("true")));
}
