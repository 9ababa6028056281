//! A publication sent in each way arrives at a subscriber of each protocol, converted as `docs/PROTOCOL.md` says. A protocol
//! that is added has a row in each of the two lists.

use serde_json::{Value, json};
use testkit::client::{Client, Message, without_times};
use testkit::event_stream::{EventStream, SseEvent};
use testkit::fleet::{Broker, Fleet, for_simple_brokers};
use testkit::http::request;
use testkit::node::Node;
use testkit::requester::Requester;

use crate::mercure::MERCURE;
use crate::mqtt::{Mqtt, V3, V5};
use crate::pusher::{APP, APPS, Pusher, trigger};
use crate::stomp::Stomp;

for_simple_brokers!(a_publication_of_each_way_arrives_at_each_protocol_as_the_table_says);

const CHANNEL: &str = "table";

const RULES: &str = r#"rules=[{pattern="**",history={size=100,age="10m"}}]"#;

/// A payload, and what it is to Pusher's clients: the name and the data of an event.
struct Row {
    payload: Payload,
    pusher: (&'static str, &'static str),
}

#[derive(Clone, Copy, Debug)]
enum Payload {
    Text(&'static str),
    Binary(&'static [u8]),
}

const ROWS: [Row; 5] = [
    Row {
        payload: Payload::Text(r#"{"event":"order","data":{"id":1.50}}"#),
        pusher: ("order", r#"{"id":1.50}"#),
    },
    Row { payload: Payload::Text(r#"{"event":"order","data":"text"}"#), pusher: ("order", "text") },
    Row { payload: Payload::Text(r#"{"a":[1,null]}"#), pusher: ("message", r#"{"a":[1,null]}"#) },
    Row { payload: Payload::Text("plain é 🌊"), pusher: ("message", "plain é 🌊") },
    Row { payload: Payload::Binary(b"\xff\x00"), pusher: ("message", "/wA=") },
];

impl Payload {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload's field in the json protocol.
    fn json(self) -> (&'static str, Value) {
        match self {
            Self::Text(text) => match serde_json::from_str(text) {
                Ok(data) => ("data", data),
                Err(_) => ("text", json!(text)),
            },
            Self::Binary(_) => ("base64", json!("/wA=")),
        }
    }
}

/// The ways to publish.
#[derive(Clone, Copy, Debug)]
enum Way {
    Publish,
    Fcall,
    Json,
    Plain,
    Http,
    InternalApi,
    PusherApi,
    Mqtt,
    Mqtt5,
    Stomp,
    Mercure,
}

const WAYS: [Way; 11] = [
    Way::Publish,
    Way::Fcall,
    Way::Json,
    Way::Plain,
    Way::Http,
    Way::InternalApi,
    Way::PusherApi,
    Way::Mqtt,
    Way::Mqtt5,
    Way::Stomp,
    Way::Mercure,
];

impl Way {
    /// Sends the payload. False: the broker or the way cannot carry it.
    async fn send(self, fleet: &Fleet, node: &Node, payload: Payload) -> bool {
        let bytes = payload.bytes();
        match (self, payload) {
            (Self::Publish | Self::Fcall, _) if fleet.servers().is_empty() => return false,
            // A service that writes no header line sends what it sends: bytes that are no text.
            (Self::Publish, _) => _ = fleet.server().publish(CHANNEL, bytes).await,
            (Self::Fcall, Payload::Binary(_)) => return false,
            (Self::Fcall, Payload::Text(text)) => {
                let key = format!("tidegate:{CHANNEL}");
                let _: Value = fleet_call(fleet, &key, text).await;
            }
            (Self::Json, _) => {
                let (field, value) = payload.json();
                // The text itself, because a parser writes numbers and the order of keys in its own way.
                let value = match (field, payload) {
                    ("data", Payload::Text(text)) => text.to_owned(),
                    _ => value.to_string(),
                };
                let mut client = Client::json(node).await;
                let command = format!(
                    r#"{{"type":"publish","id":1,"channel":"{CHANNEL}","{field}":{value}}}"#
                );
                client.send(command).await;
                let answer = client.answer(1).await;
                assert_eq!(answer["type"], "published", "{answer}");
            }
            (Self::Plain, _) => {
                let mut client = Client::plain(node, &format!("{CHANNEL}?echo=false")).await;
                match payload {
                    Payload::Text(text) => client.send(text).await,
                    Payload::Binary(bytes) => client.send(bytes.to_vec()).await,
                }
                client.close().await;
            }
            (Self::Http, _) => {
                let answer =
                    request(node.public, "POST", &format!("/publish/{CHANNEL}"), &[], bytes).await;
                assert_eq!(answer.status, 202, "{answer:?}");
            }
            (Self::InternalApi, _) => {
                let answer = node.post(&format!("/api/publish/{CHANNEL}"), &[], bytes).await;
                assert_eq!(answer.status, 202, "{answer:?}");
            }
            (Self::PusherApi, Payload::Text(text)) => {
                let Ok(event) = serde_json::from_str::<Value>(text) else { return false };
                let (Some(name), Some(_)) = (event["event"].as_str(), event.get("data")) else {
                    return false;
                };
                // As the libraries send it: JSON in a text.
                let data = match &event["data"] {
                    Value::String(data) => data.clone(),
                    _ => r#"{"id":1.50}"#.to_owned(),
                };
                let answer =
                    trigger(node, json!({"name": name, "channel": CHANNEL, "data": data})).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            (Self::PusherApi | Self::Mercure, Payload::Binary(_)) => return false,
            (Self::Mercure, Payload::Text(text)) => {
                _ = crate::mercure::publish(node, CHANNEL, text).await;
            }
            (Self::Mqtt | Self::Mqtt5, _) => {
                let level = if matches!(self, Self::Mqtt) { V3 } else { V5 };
                Mqtt::connect(node, level).await.publish(CHANNEL, bytes).await;
            }
            (Self::Stomp, Payload::Text(text)) => {
                let headers = format!("destination:/topic/{CHANNEL}\n");
                Stomp::connect(node).await.request("SEND", &headers, text).await;
            }
            (Self::Stomp, Payload::Binary(bytes)) => {
                let headers = format!("destination:/topic/{CHANNEL}\nreceipt:r\n");
                let mut stomp = Stomp::connect(node).await;
                stomp.send_bytes("SEND", &headers, bytes).await;
                assert_eq!(stomp.frame().await.command, "RECEIPT");
            }
        }
        true
    }
}

async fn fleet_call(fleet: &Fleet, key: &str, text: &str) -> Value {
    let position: String =
        fleet.server().query(&["FCALL", "tidegate_publish", "1", key, text]).await;
    json!(position)
}

/// A subscriber of each protocol.
struct Subscribers {
    plain: Client,
    json: Client,
    sse: EventStream,
    poll: Requester,
    pusher: Pusher,
    mqtt: [Mqtt; 2],
    stomp: Stomp,
    mercure: EventStream,
}

impl Subscribers {
    async fn of(node: &Node) -> Self {
        Self {
            plain: Client::plain(node, CHANNEL).await,
            json: {
                let mut json = Client::json(node).await;
                let answer =
                    json.request(json!({"type": "subscribe", "id": 1, "channel": CHANNEL})).await;
                assert_eq!(answer["type"], "subscribed");
                json
            },
            sse: EventStream::open(node, &format!("/sse/{CHANNEL}")).await,
            poll: Requester::connect(node).await,
            pusher: Pusher::subscribed(node, APP, CHANNEL).await,
            mqtt: [
                Mqtt::subscribed(node, V3, CHANNEL).await,
                Mqtt::subscribed(node, V5, CHANNEL).await,
            ],
            stomp: Stomp::subscribed(node, &format!("/topic/{CHANNEL}")).await,
            mercure: crate::mercure::follow(node, &[CHANNEL]).await,
        }
    }

    /// Polls, and waits until the node has the poll.
    async fn wait_for_poll(&mut self, node: &Node) {
        self.poll.send("GET", &format!("/poll/{CHANNEL}?wait=60s"), &[], b"").await;
        node.wait_for_metric(r#"tidegate_connections{protocol="http",transport="poll"}"#, 1.).await;
    }

    async fn check(&mut self, way: Way, row: &Row) {
        let what = format!("{way:?} {:?}", row.payload);
        let (field, value) = row.payload.json();
        let frame = self.plain.receive().await;
        match row.payload {
            Payload::Text(text) => assert_eq!(frame, Message::text(text), "plain, {what}"),
            Payload::Binary(bytes) => assert_eq!(frame, Message::binary(bytes), "plain, {what}"),
        }
        let publication = self.json.event().await;
        assert_eq!(
            (&publication["type"], &publication[field]),
            (&json!("publication"), &value),
            "json, {what}"
        );
        let expected = match row.payload {
            Payload::Text(text) => ("", text),
            Payload::Binary(_) => ("binary", "/wA="),
        };
        for (name_of, stream) in [("sse", &mut self.sse), ("mercure", &mut self.mercure)] {
            let SseEvent { name, data, .. } = stream.event().await;
            assert_eq!((name.as_str(), data.as_str()), expected, "{name_of}, {what}");
        }
        let polled = without_times(self.poll.response().await.json());
        assert_eq!(polled["publications"][0][field], value, "poll, {what}: {polled}");
        let (name, data) = row.pusher;
        let expected = crate::pusher::event(name, CHANNEL, data);
        assert_eq!(self.pusher.event().await, expected, "pusher, {what}");
        for mqtt in &mut self.mqtt {
            mqtt.expect(CHANNEL, row.payload.bytes()).await;
        }
        let message = self.stomp.frame().await;
        let is_binary = matches!(row.payload, Payload::Binary(_));
        assert_eq!(message.body, row.payload.bytes(), "stomp, {what}");
        let content_type = is_binary.then_some("application/octet-stream");
        assert_eq!(message.header("content-type"), content_type, "stomp, {what}");
        assert_eq!(message.is_binary, is_binary, "stomp, {what}");
    }
}

async fn a_publication_of_each_way_arrives_at_each_protocol_as_the_table_says(broker: Broker) {
    let fleet = broker.fleet(&[APPS, MERCURE, RULES]).await;
    let [a, b] = fleet.nodes();
    let mut subscribers = Subscribers::of(b).await;
    subscribers.wait_for_poll(b).await;
    for row in &ROWS {
        for way in WAYS {
            if way.send(&fleet, a, row.payload).await {
                subscribers.check(way, row).await;
                subscribers.wait_for_poll(b).await;
            }
        }
    }
}
