//! The bodies of answers.

use serde_json::{Map, Value, json};

use super::super::name::name_of;
use crate::protocol::{ChannelCounts, ServiceReply};

pub fn done(_: &ServiceReply) -> String {
    "{}".to_owned()
}

/// With the attributes of the channels, where the service asked for some.
pub fn events(reply: &ServiceReply) -> String {
    let ServiceReply::Published(published) = reply else { return done(reply) };
    let known: Vec<&ChannelCounts> = published.iter().flatten().collect();
    match known.is_empty() {
        true => done(reply),
        false => json!({ "channels": by_name(known) }).to_string(),
    }
}

/// With the attributes of each event's channel in their order, where the service asked for some.
pub fn batch(reply: &ServiceReply) -> String {
    let ServiceReply::Published(published) = reply else { return done(reply) };
    if published.iter().all(Option::is_none) {
        return done(reply);
    }
    let each = published.iter().map(|counts| counts.as_ref().map_or_else(|| json!({}), attributes));
    json!({ "batch": each.collect::<Vec<_>>() }).to_string()
}

pub fn channels(reply: &ServiceReply) -> String {
    let ServiceReply::Channels(list) = reply else { return done(reply) };
    json!({ "channels": by_name(list) }).to_string()
}

pub fn channel(reply: &ServiceReply) -> String {
    let ServiceReply::Channel(counts) = reply else { return done(reply) };
    let mut object = attributes(counts);
    object["occupied"] = counts.is_occupied.into();
    object.to_string()
}

pub fn users(reply: &ServiceReply) -> String {
    let ServiceReply::Members(members) = reply else { return done(reply) };
    let users = members.list.iter().filter_map(|member| member.user.as_deref());
    let users: Vec<Value> = users.map(|user| json!({ "id": user })).collect();
    json!({ "users": users }).to_string()
}

fn by_name<'a>(list: impl IntoIterator<Item = &'a ChannelCounts>) -> Map<String, Value> {
    let each =
        list.into_iter().map(|it| (name_of(it.channel.as_str()).into_owned(), attributes(it)));
    each.collect()
}

/// What is not known is left out.
fn attributes(counts: &ChannelCounts) -> Value {
    let mut object = json!({});
    if let Some(members) = counts.members {
        object["user_count"] = members.into();
    }
    if let Some(subscriptions) = counts.subscriptions {
        object["subscription_count"] = subscriptions.into();
    }
    object
}
