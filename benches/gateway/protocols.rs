//! Other protocols: the CPU of a delivery to 1,000 subscribers at a fixed rate, compared with json, and the
//! memory of idle subscribers.

use anyhow::Result;

use crate::connection::{Message, Request};
use crate::contender::{Contender, compare};
use crate::cores::Cores;
use crate::memory::idle_with;
use crate::mqtt;
use crate::redis::Redis;
use crate::table::{Goal, Length, Table};

/// A protocol as the measurements use it.
struct Spoken {
    name: &'static str,
    settings: &'static [&'static str],
    /// A subscriber of the channel.
    request: fn(&str) -> Request,
    /// Most times json's CPU for a delivery.
    cost_max: f64,
    /// Most bytes of an idle subscriber.
    bytes_max: f64,
}

const SPOKEN: &[Spoken] = &[
    Spoken {
        name: "Pusher",
        settings: &[
            r#"pusher.apps=[{id="1",key="bench",secret="bench-bench-bench-bench"}]"#,
            r#"rules=[{pattern="**"}]"#,
        ],
        request: pusher,
        cost_max: 1.15,
        bytes_max: 4096.0,
    },
    Spoken {
        name: "MQTT over WebSockets",
        settings: &[],
        request: mqtt_over_websockets,
        cost_max: 1.15,
        bytes_max: 4096.0,
    },
    Spoken {
        name: "MQTT over TCP",
        settings: &[],
        request: |channel| Request::Packets(mqtt::opening(channel)),
        cost_max: 1.15,
        bytes_max: 3072.0,
    },
    Spoken { name: "STOMP", settings: &[], request: stomp, cost_max: 1.3, bytes_max: 5120.0 },
];

pub fn measure(length: Length, table: &mut Table) -> Result<()> {
    let redis = Redis::start(Cores::Any)?;
    let mut contenders =
        vec![Contender::start("json over WebSockets", &redis, &Request::Json, &[])?];
    for it in SPOKEN {
        let request = (it.request)("bench");
        contenders.push(Contender::start(it.name, &redis, &request, it.settings)?);
    }
    let goals: Vec<Goal> = SPOKEN.iter().map(|it| Goal::AtMost(it.cost_max)).collect();
    compare(contenders, &goals, length, table)?;
    for it in SPOKEN {
        let request = |number| (it.request)(&format!("mem-{number}"));
        let name = format!("memory, idle, {}", it.name);
        idle_with(&name, it.settings, request, 1, Goal::AtMost(it.bytes_max), table)?;
    }
    Ok(())
}

fn pusher(channel: &str) -> Request {
    let subscribe = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#);
    Request::WebSocket {
        path: "/app/bench?protocol=7",
        subprotocol: None,
        opening: vec![Message::Text(subscribe)],
    }
}

fn mqtt_over_websockets(channel: &str) -> Request {
    Request::WebSocket {
        path: "/ws",
        subprotocol: Some("mqtt"),
        opening: vec![Message::Binary(mqtt::opening(channel))],
    }
}

fn stomp(channel: &str) -> Request {
    let subscribe = format!("SUBSCRIBE\nid:sub-0\ndestination:/topic/{channel}\n\n\0");
    let connect = "CONNECT\naccept-version:1.2\n\n\0".to_owned();
    Request::WebSocket {
        path: "/ws",
        subprotocol: Some("v12.stomp"),
        opening: vec![Message::Text(connect), Message::Text(subscribe)],
    }
}
