//! `/api/channels`: the channels of this node.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{ApiResponse, object};
use crate::hub::Hub;

/// The most channels in one answer.
const CHANNELS_MAX: usize = 10_000;

/// The channels with local subscribers, their number, and how many nodes have the channel.
pub async fn answer(hub: &Hub) -> ApiResponse {
    let mut channels = hub.registry().channels();
    let total = channels.len();
    channels.truncate(CHANNELS_MAX);
    let names = channels.iter().map(|count| count.channel.clone()).collect();
    let nodes = match hub.broker().nodes(names).await {
        Ok(nodes) => nodes.into_iter().map(Value::from).collect(),
        // Without the broker, this node's own numbers are still useful.
        Err(_) => vec![Value::Null; channels.len()],
    };
    let list: Vec<Value> = channels
        .iter()
        .zip(nodes)
        .map(|(count, nodes)| {
            json!({
                "channel": count.channel.as_str(),
                "subscribers": count.subscribers,
                "nodes": nodes,
            })
        })
        .collect();
    object(StatusCode::OK, &json!({"channels": list, "total": total}))
}
