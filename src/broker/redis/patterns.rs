//! The channels of patterns in Redis: one `PSUBSCRIBE` for each rule whose patterns are wanted, however many clients and
//! patterns there are. Redis tries each pattern at each `PUBLISH`, so there must be few.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::{BoxFuture, try_join_all};

use super::context::RedisContext;
use super::subscribing::channels::escaped;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;
use crate::rules::Pattern;

/// Before the glob in the name of an internal channel, which stands for the pattern among the wanted channels.
const NAME: &str = "pattern ";

/// The patterns that this node follows.
#[derive(Default)]
pub struct FollowedPatterns {
    globs: Mutex<BTreeMap<String, Channel>>,
}

/// Whether the internal channel stands for a pattern.
pub fn is_pattern(channel: &Channel) -> bool {
    channel.as_str().starts_with(NAME)
}

/// The pattern in Redis' notation that the internal channel stands for. None: it is another channel.
pub fn glob_of(context: &RedisContext, channel: &Channel) -> Option<String> {
    let glob = channel.as_str().strip_prefix(NAME)?;
    Some(format!("{}{glob}", escaped(&context.prefix)))
}

/// The internal channel that stands for a pattern in Redis' notation.
pub fn channel_of_glob(context: &RedisContext, glob: &[u8]) -> Option<Channel> {
    let glob = std::str::from_utf8(glob).ok()?.strip_prefix(&escaped(&context.prefix))?;
    Some(Channel::internal(&format!("{NAME}{glob}")))
}

/// Follows the rules with these patterns, and no others. Resolves once Redis has confirmed them.
pub fn follow(
    context: &RedisContext,
    wanted: &[Pattern],
) -> BoxFuture<'static, Result<(), Unavailable>> {
    let wanted: BTreeMap<String, Channel> = wanted
        .iter()
        .map(|pattern| {
            let glob = pattern.glob(escaped);
            let channel = Channel::internal(&format!("{NAME}{glob}"));
            (glob, channel)
        })
        .collect();
    let mut followed = context.patterns.globs.lock().unwrap_or_else(PoisonError::into_inner);
    for (_, channel) in followed.iter().filter(|(glob, _)| !wanted.contains_key(*glob)) {
        context.map.unsubscribe(channel);
    }
    let receipts: Vec<_> = wanted.values().map(|channel| context.map.subscribe(channel)).collect();
    *followed = wanted;
    Box::pin(async { try_join_all(receipts).await.map(|_| ()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rules_pattern_becomes_one_of_redis_that_matches_at_least_its_channels() {
        for (pattern, expected) in [
            ("orders:**", "orders:*"),
            ("orders:*:x", "orders:*:x"),
            ("user:{user}:*", "user:*:*"),
            ("a[b]?*", r"a\[b\]\?*"),
            ("news", "news"),
            ("{user}*", "*"),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().glob(escaped), expected);
        }
    }
}
