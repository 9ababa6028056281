//! Tests of what moves when masters change, and in which order.

use bytes::Bytes;

use super::*;
use crate::broker::config::Config;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::publishing::master_queue::BatchMax;
use crate::broker::redis::url::Url;
use crate::rules::Rules;

const ALL: BatchMax = BatchMax { publications: 100, bytes: 1 << 20 };

fn context(url: &str) -> RedisContext {
    let config = Config {
        url: Url::parse(url).unwrap(),
        prefix: "tidegate:".into(),
        publish_timeout: Duration::from_secs(2),
        idempotency_window: Duration::from_secs(300),
        rules: Rules::default(),
        secret: None,
        trust: None,
    };
    let Url::Redis(deployment) = &config.url else { panic!("{url}") };
    RedisContext::new(&config, deployment, NodeId::random(), Arc::new(|_| {}))
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn publish(context: &RedisContext, name: &str, text: &str) -> Receipt<Option<Position>> {
    let payload = Publication::bare(Bytes::copy_from_slice(text.as_bytes()));
    context.publish(channel(name), payload)
}

fn apply(context: &RedisContext, layout: &Layout) -> LaneChanges {
    context.map.apply(layout, |address| context.lane(address))
}

fn texts(batch: &[QueuedPublication]) -> Vec<String> {
    let text = |it: &QueuedPublication| {
        String::from_utf8(it.request.publication.payload.to_vec()).unwrap()
    };
    batch.iter().map(text).collect()
}

/// Masters a and b. b owns only the slot of `news`, or is missing.
fn layout(b_has_news: bool) -> Layout {
    let masters = [1, 2].map(|port| ServerAddress::new("host", port));
    let mut owners = vec![Some(0); SLOTS];
    if b_has_news {
        owners[usize::from(slot::of(b"tidegate:news"))] = Some(1);
    }
    Layout {
        masters: masters[..if b_has_news { 2 } else { 1 }].to_vec(),
        owners,
        ..Layout::default()
    }
}

#[tokio::test(start_paused = true)]
async fn queued_publications_go_to_a_new_master_in_order() {
    let context = context("redis+cluster://host");
    let subscribed = context.map.subscribe(&channel("news"));
    let _receipts = [publish(&context, "news", "1"), publish(&context, "sport", "2")];
    let _last = publish(&context, "news", "3");
    let applied = apply(&context, &layout(true));
    let [a, b] = &applied.new[..] else { panic!("two lanes") };
    assert_eq!(texts(&a.take(ALL)), ["2"]);
    assert_eq!(texts(&b.take(ALL)), ["1", "3"]);
    assert_eq!(b.subscriptions.next_to_subscribe().unwrap().combined, [channel("news")]);
    b.subscriptions.confirm(&channel("news"));
    assert_eq!(subscribed.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_moving_slot_takes_its_queued_publications_before_newer_ones() {
    let context = context("redis+cluster://host");
    let a = apply(&context, &layout(false)).new.remove(0);
    let _receipts = [publish(&context, "news", "1"), publish(&context, "sport", "2")];
    let taken = a.take(ALL);
    let _second = publish(&context, "news", "3");
    let b = apply(&context, &layout(true)).new.remove(0);
    let _third = publish(&context, "news", "4");
    // The reply for the first ones arrives late, but nothing newer has been sent.
    context.map.requeue(a.number, taken);
    assert_eq!(texts(&a.take(ALL)), ["2"]);
    assert_eq!(texts(&b.take(ALL)), ["1", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_publication_overtaken_at_another_master_is_not_sent_again() {
    let context = context("redis+cluster://host");
    let a = apply(&context, &layout(false)).new.remove(0);
    let first = publish(&context, "news", "1");
    let taken = a.take(ALL);
    let b = apply(&context, &layout(true)).new.remove(0);
    let _second = publish(&context, "news", "2");
    assert_eq!(texts(&b.take(ALL)), ["2"]);
    context.map.requeue(a.number, taken);
    assert!(b.take(ALL).is_empty());
    assert_eq!(first.await, Err(OVERTAKEN));
}

#[tokio::test(start_paused = true)]
async fn a_new_master_takes_over_both_queues_and_the_old_lane_is_retired() {
    let context = context("redis+sentinel://host/main");
    let old = apply(&context, &Layout::one(ServerAddress::new("host", 1))).new.remove(0);
    let _receipt = context.map.subscribe(&channel("news"));
    old.subscriptions.next_to_subscribe();
    old.subscriptions.confirm(&channel("news"));
    let _publishing = publish(&context, "news", "1");
    let applied = apply(&context, &Layout::one(ServerAddress::new("host", 2)));
    assert_eq!(applied.retired.len(), 1);
    let new = &applied.new[0];
    assert!(old.publications.take(ALL, |_| {}).is_empty());
    assert_eq!(texts(&new.take(ALL)), ["1"]);
    assert_eq!(new.subscriptions.next_to_subscribe().unwrap().combined, [channel("news")]);
    assert_eq!(new.subscriptions.confirm(&channel("news")), Some(true), "it was interrupted");
    assert!(apply(&context, &Layout::one(ServerAddress::new("host", 2))).new.is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_lane_has_its_own_probe_channel_and_its_channels_of_a_list() {
    let context = context("redis+cluster://host");
    let applied = apply(&context, &layout(true));
    for lane in &applied.new {
        let probe = context.map.probe(lane, context.node);
        assert!(context.map.owns(lane, &probe), "{probe}");
    }
    let channels = ["news", "sport", "weather"].map(channel);
    let mut by_lane: Vec<_> = context.map.by_lane(&channels);
    by_lane.sort_by_key(|(lane, _)| lane.as_ref().map(|lane| lane.address.port));
    let indices: Vec<Vec<usize>> = by_lane
        .iter()
        .map(|(_, channels_of_lane)| channels_of_lane.iter().map(|(at, _)| *at).collect())
        .collect();
    assert_eq!(indices, [vec![1, 2], vec![0]]);
}
