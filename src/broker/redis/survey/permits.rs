//! The permissions that the logged-in user lacks. Redis checks the ACL first, so each command is
//! tried in a form that then has no effect: on a missing key, or with arguments that Redis refuses.

use std::collections::BTreeSet;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, Value};

use super::replies::query;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::survey::{Forbidden, NodeFeature};

/// Placeholder for a channel, and the key of its name, in an attempt. No client can have a channel
/// of this name.
const CHANNEL: &str = "<channel>";

/// The command's name in the ACL, the features that need it, and the attempt.
type Attempt = (&'static str, &'static [NodeFeature], &'static str);

const ALL: &[NodeFeature] = &[NodeFeature::Everything];
const KEEPING: &[NodeFeature] =
    &[NodeFeature::History, NodeFeature::Presence, NodeFeature::Revocations];
const HISTORY: &[NodeFeature] = &[NodeFeature::History];
const RUNS: &[NodeFeature] = &[NodeFeature::Runs];
const PRESENCE: &[NodeFeature] = &[NodeFeature::Presence];
const REVOCATIONS: &[NodeFeature] = &[NodeFeature::Revocations];

/// For all deployments. `<channel>` does not exist.
const ATTEMPTS: [Attempt; 33] = [
    ("client|setname", ALL, "CLIENT SETNAME tidegate-doctor"),
    ("role", ALL, "ROLE"),
    ("ping", ALL, "PING"),
    ("function|list", KEEPING, "FUNCTION LIST LIBRARYNAME tidegate"),
    // No library begins with this text.
    ("function|load", KEEPING, "FUNCTION LOAD nothing"),
    ("fcall", KEEPING, "FCALL tidegate_nothing 1 <channel>"),
    ("time", KEEPING, "TIME"),
    ("pexpire", KEEPING, "PEXPIRE <channel> 1000"),
    ("info", HISTORY, "INFO replication"),
    ("wait", HISTORY, "WAIT 0 1"),
    ("get", HISTORY, "GET <channel>"),
    // For the leases of runs.
    ("pttl", RUNS, "PTTL <channel>"),
    ("set", HISTORY, "SET <channel> nothing XX"),
    ("xadd", HISTORY, "XADD <channel> NOMKSTREAM * nothing nothing"),
    ("xdel", HISTORY, "XDEL <channel> 0-1"),
    ("xinfo|stream", HISTORY, "XINFO STREAM <channel>"),
    ("xrange", HISTORY, "XRANGE <channel> - + COUNT 1"),
    ("xrevrange", HISTORY, "XREVRANGE <channel> + - COUNT 1"),
    ("xtrim", HISTORY, "XTRIM <channel> MAXLEN 1"),
    ("del", PRESENCE, "DEL <channel>"),
    ("exists", PRESENCE, "EXISTS <channel>"),
    ("hdel", PRESENCE, "HDEL <channel> nothing"),
    ("hgetall", PRESENCE, "HGETALL <channel>"),
    ("hlen", PRESENCE, "HLEN <channel>"),
    ("hmget", PRESENCE, "HMGET <channel> nothing"),
    ("hrandfield", PRESENCE, "HRANDFIELD <channel>"),
    // A field without a value, which Redis detects after checking the ACL.
    ("hset", PRESENCE, "HSET <channel> one 1 two"),
    ("zadd", REVOCATIONS, "ZADD <channel> XX 1 nothing"),
    ("zcard", REVOCATIONS, "ZCARD <channel>"),
    ("zcount", REVOCATIONS, "ZCOUNT <channel> 0 1"),
    ("zrange", REVOCATIONS, "ZRANGE <channel> 0 0"),
    ("zremrangebyrank", REVOCATIONS, "ZREMRANGEBYRANK <channel> 0 0"),
    ("publish", ALL, "PUBLISH <channel> nothing"),
];

/// Additional attempts. Subscribing is tried by the relay.
const OF_ONE: [Attempt; 2] = [
    ("pubsub|numsub", ALL, "PUBSUB NUMSUB <channel>"),
    ("pubsub|channels", ALL, "PUBSUB CHANNELS <channel>"),
];
const OF_CLUSTER: [Attempt; 8] = [
    // Required for moving slots.
    ("asking", KEEPING, "ASKING"),
    ("migrate", KEEPING, "MIGRATE 127.0.0.1 1 <channel> 0 1"),
    ("hkeys", PRESENCE, "HKEYS <channel>"),
    ("spublish", ALL, "SPUBLISH <channel> nothing"),
    ("pubsub|shardnumsub", ALL, "PUBSUB SHARDNUMSUB <channel>"),
    ("pubsub|shardchannels", ALL, "PUBSUB SHARDCHANNELS <channel>"),
    ("cluster|slots", ALL, "CLUSTER SLOTS"),
    ("cluster|nodes", ALL, "CLUSTER NODES"),
];

/// Each missing permission once, sorted.
pub async fn forbidden(
    context: &RedisContext,
    lane: &Lane,
    connection: &mut MultiplexedConnection,
) -> Result<Vec<Forbidden>, String> {
    let more: &[Attempt] = if context.pubsub.is_sharded() { &OF_CLUSTER } else { &OF_ONE };
    let attempts: Vec<_> = ATTEMPTS.iter().chain(more).collect();
    let channel = context.name(&context.map.probe(lane, context.node));
    let mut pipeline = Pipeline::new();
    for (.., attempt) in &attempts {
        let mut words = attempt.split(' ');
        pipeline.cmd(words.next().unwrap_or_default());
        for word in words {
            pipeline.arg(if word == CHANNEL { &channel } else { word });
        }
    }
    let answers = query(connection, &pipeline).await?;
    let mut found = BTreeSet::new();
    for ((command, features, _), answer) in attempts.iter().zip(&answers) {
        if let Some(rule) = missing(command, &context.prefix, answer) {
            found.extend(
                features.iter().map(|feature| Forbidden { feature: *feature, rule: rule.clone() }),
            );
        }
    }
    Ok(found.into_iter().collect())
}

/// The ACL rule that is missing according to the reply.
fn missing(command: &str, prefix: &str, answer: &Value) -> Option<String> {
    let Value::ServerError(error) = answer else { return None };
    if error.code() != "NOPERM" {
        return None;
    }
    // Redis names it only in the message: "… to run the 'xadd' command", "… access one of the keys
    // …".
    let detail = error.details().unwrap_or_default();
    Some(match detail {
        _ if detail.contains("command") => format!("+{command}"),
        _ if detail.contains("channel") => format!("&{prefix}*"),
        _ if detail.contains("key") => format!("~{prefix}*"),
        _ => format!("+{command}"),
    })
}
