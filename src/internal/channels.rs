//! `/api/channels`: what this node carries.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{ApiResponse, object};
use crate::hub::Hub;

/// Most channels in one answer.
const CHANNELS_MAX: usize = 10_000;

/// The channels of this node, with their local subscribers and how many nodes carry each.
pub async fn answer(hub: &Hub) -> ApiResponse {
    let mut channels = hub.registry().channels();
    let total = channels.len();
    channels.truncate(CHANNELS_MAX);
    let names = channels.iter().map(|count| count.channel.clone()).collect();
    let nodes = match hub.broker().nodes(names).await {
        Ok(nodes) => nodes.into_iter().map(Value::from).collect(),
        // What this node knows is worth an answer all the same.
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
