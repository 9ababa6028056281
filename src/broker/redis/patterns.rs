//! The channels of patterns in Redis: one `PSUBSCRIBE` for each rule whose patterns are wanted, however many clients and
//! patterns there are. Redis tries each pattern at each `PUBLISH`, so there must be few.
//!
//! A cluster has no patterns for sharded pub/sub. There a function publishes on channels whose rule has `patterns`, and
//! once more on the *shared channel* of the channel's slot, in the same step. A node with patterns subscribes to the shared
//! channels of all slots.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::PoisonError;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};

use super::context::RedisContext;
use super::lanes::slot;
use super::pattern_channels::{channel_of, escaped, shared};
use super::pubsub::PubSub;
use crate::broker::unavailable::Unavailable;
use crate::rules::Pattern;

/// Follows the rules with these patterns, and no others. Resolves once Redis has confirmed them.
pub fn follow(
    context: &RedisContext,
    wanted: &[Pattern],
) -> BoxFuture<'static, Result<(), Unavailable>> {
    match context.pubsub {
        PubSub::Plain => follow_globs(context, wanted),
        PubSub::Sharded => follow_slots(context, !wanted.is_empty()),
    }
}

fn follow_globs(
    context: &RedisContext,
    wanted: &[Pattern],
) -> BoxFuture<'static, Result<(), Unavailable>> {
    let globs: BTreeSet<String> = wanted.iter().map(|pattern| pattern.glob(escaped)).collect();
    let mut followed = context.patterns.globs.lock().unwrap_or_else(PoisonError::into_inner);
    for glob in followed.difference(&globs) {
        context.map.unsubscribe(&channel_of(glob));
    }
    let receipts: Vec<_> =
        globs.iter().map(|glob| context.map.subscribe(&channel_of(glob))).collect();
    *followed = globs;
    Box::pin(async { try_join_all(receipts).await.map(|_| ()) })
}

/// Subscribes to the shared channels of all slots, or unsubscribes.
fn follow_slots(
    context: &RedisContext,
    wanted: bool,
) -> BoxFuture<'static, Result<(), Unavailable>> {
    let mut confirmed = context.patterns.slots.lock().unwrap_or_else(PoisonError::into_inner);
    let has_failed = confirmed.as_ref().is_some_and(|it| matches!(it.peek(), Some(Err(_))));
    match &*confirmed {
        None if !wanted => {}
        Some(_) if !wanted => {
            slot::shared_tags().iter().for_each(|tag| context.map.unsubscribe(&shared(tag)));
            *confirmed = None;
        }
        Some(confirmed) if !has_failed => return Box::pin(confirmed.clone()),
        _ => {
            let receipts =
                slot::shared_tags().iter().map(|tag| context.map.subscribe(&shared(tag)));
            let receipts: Vec<_> = receipts.collect();
            let all: BoxFuture<'static, _> =
                Box::pin(async { try_join_all(receipts).await.map(|_| ()) });
            let all = all.shared();
            *confirmed = Some(all.clone());
            return Box::pin(all);
        }
    }
    Box::pin(ready(Ok(())))
}
