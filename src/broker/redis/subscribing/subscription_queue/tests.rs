//! Tests of what is requested from Redis, and of its replies.

use super::entry::REFUSED_PAUSE;
use super::*;

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn queue() -> SubscriptionQueue {
    SubscriptionQueue::new(Duration::from_secs(2), Arc::default())
}

/// Takes the next batch, all channels together.
fn next_batch(queue: &SubscriptionQueue) -> Vec<Channel> {
    let Some(mut batch) = queue.next_to_subscribe() else { return Vec::new() };
    batch.combined.append(&mut batch.single);
    batch.combined.sort();
    batch.combined
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_requested_once_for_any_number_of_subscribers() {
    let queue = queue();
    let receipts = [queue.subscribe(&channel("a")), queue.subscribe(&channel("a"))];
    assert_eq!(next_batch(&queue), [channel("a")]);
    assert!(next_batch(&queue).is_empty());
    queue.confirm(&channel("a"));
    for receipt in receipts {
        assert_eq!(receipt.await, Ok(()));
    }
    assert_eq!(queue.subscribe(&channel("a")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_unsubscribed_a_second_after_its_last_subscriber_unless_one_returns() {
    let queue = queue();
    let _receipts = [queue.subscribe(&channel("a")), queue.subscribe(&channel("b"))];
    next_batch(&queue);
    queue.confirm(&channel("a"));
    queue.confirm(&channel("b"));
    queue.unsubscribe(&channel("a"));
    queue.unsubscribe(&channel("b"));
    assert!(queue.next_to_unsubscribe().is_empty());
    tokio::time::advance(UNSUBSCRIBE_DELAY / 2).await;
    assert_eq!(queue.subscribe(&channel("b")).await, Ok(()));
    tokio::time::advance(UNSUBSCRIBE_DELAY).await;
    assert_eq!(queue.next_to_unsubscribe(), [channel("a")]);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_connection_all_channels_are_requested_and_interruptions_reported_once() {
    let queue = queue();
    let _first = queue.subscribe(&channel("a"));
    next_batch(&queue);
    assert_eq!(queue.confirm(&channel("a")), Some(false));
    let _second = queue.subscribe(&channel("b"));
    queue.connection_lost();
    assert_eq!(next_batch(&queue), [channel("a"), channel("b")]);
    assert_eq!(queue.confirm(&channel("b")), Some(false), "it was never live");
    assert_eq!(queue.confirm(&channel("a")), Some(true));
    assert_eq!(queue.confirm(&channel("a")), None);
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribed_unconfirmed_channel_is_kept_until_redis_has_answered() {
    let queue = queue();
    let _receipts = [queue.subscribe(&channel("left")), queue.subscribe(&channel("kept"))];
    let number = queue.next_to_subscribe().unwrap().number;
    queue.unsubscribe(&channel("left"));
    tokio::time::advance(UNSUBSCRIBE_DELAY * 2).await;
    assert!(queue.next_to_unsubscribe().is_empty());
    queue.answered(number);
    tokio::time::advance(REFUSED_PAUSE.pause_after(0)).await;
    queue.retry();
    let again = queue.next_to_subscribe().unwrap();
    assert_eq!((again.combined, again.single), (vec![], vec![channel("kept")]));
    assert_eq!(queue.confirm(&channel("left")), None);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_redis_ends_is_requested_again_and_has_a_gap() {
    let queue = queue();
    let _receipt = queue.subscribe(&channel("a"));
    next_batch(&queue);
    assert!(!queue.interrupted(&channel("a")), "it was not live");
    queue.confirm(&channel("a"));
    assert!(queue.interrupted(&channel("a")));
    assert_eq!(next_batch(&queue), [channel("a")]);
    assert_eq!(queue.confirm(&channel("a")), Some(true));
}

#[tokio::test(start_paused = true)]
async fn moved_channels_keep_their_waiting_subscribers_and_interruptions() {
    let (old, new) = (queue(), queue());
    let _live = old.subscribe(&channel("live"));
    next_batch(&old);
    old.confirm(&channel("live"));
    let waits = old.subscribe(&channel("waits"));
    let _stays = old.subscribe(&channel("stays"));
    new.merge(old.remove(|channel| channel.as_str() != "stays"));
    assert_eq!(next_batch(&old), [channel("stays")]);
    assert_eq!(old.confirm(&channel("live")), None);
    assert_eq!(next_batch(&new), [channel("live"), channel("waits")]);
    assert_eq!(new.confirm(&channel("live")), Some(true));
    assert_eq!(new.confirm(&channel("waits")), Some(false));
    assert_eq!(waits.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn many_channels_are_requested_in_batches_that_await_their_replies() {
    let queue = queue();
    let many = CHANNELS_PER_COMMAND_MAX * 3;
    let _receipts: Vec<_> =
        (0..many).map(|number| queue.subscribe(&channel(&number.to_string()))).collect();
    let first = queue.next_to_subscribe().unwrap();
    assert_eq!(first.combined.len(), CHANNELS_PER_COMMAND_MAX);
    assert!(queue.next_to_subscribe().is_some());
    assert!(queue.next_to_subscribe().is_none());
    first.combined.iter().for_each(|channel| _ = queue.confirm(channel));
    queue.answered(first.number);
    assert!(queue.next_to_subscribe().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_waits_too_long_fails() {
    let queue = queue();
    let receipt = queue.subscribe(&channel("a"));
    tokio::time::advance(Duration::from_secs(3)).await;
    queue.expire();
    assert_eq!(receipt.await, Err(UNCONFIRMED));
}
