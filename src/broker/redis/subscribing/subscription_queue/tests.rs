//! What is asked of Redis, and what becomes of its answers.

use super::entry::REFUSED_PAUSE;
use super::*;

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn wanted() -> SubscriptionQueue {
    SubscriptionQueue::new(Duration::from_secs(2), Arc::default())
}

/// Asks for the next batch, which Redis takes as a whole.
fn asked(wanted: &SubscriptionQueue) -> Vec<Channel> {
    let Some(mut batch) = wanted.next_to_subscribe() else { return Vec::new() };
    batch.together.append(&mut batch.alone);
    batch.together.sort();
    batch.together
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_asked_for_once_however_many_want_it() {
    let wanted = wanted();
    let receipts = [wanted.subscribe(&channel("a")), wanted.subscribe(&channel("a"))];
    assert_eq!(asked(&wanted), [channel("a")]);
    assert!(asked(&wanted).is_empty());
    wanted.confirm(&channel("a"));
    for receipt in receipts {
        assert_eq!(receipt.await, Ok(()));
    }
    assert_eq!(wanted.subscribe(&channel("a")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_left_a_second_after_the_last_subscriber_unless_one_returns() {
    let wanted = wanted();
    let _receipts = [wanted.subscribe(&channel("a")), wanted.subscribe(&channel("b"))];
    asked(&wanted);
    wanted.confirm(&channel("a"));
    wanted.confirm(&channel("b"));
    wanted.unsubscribe(&channel("a"));
    wanted.unsubscribe(&channel("b"));
    assert!(wanted.next_to_unsubscribe().is_empty());
    tokio::time::advance(LEAVE_DELAY / 2).await;
    assert_eq!(wanted.subscribe(&channel("b")).await, Ok(()));
    tokio::time::advance(LEAVE_DELAY).await;
    assert_eq!(wanted.next_to_unsubscribe(), [channel("a")]);
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_everything_is_asked_for_again_and_interruptions_are_told_once() {
    let wanted = wanted();
    let _first = wanted.subscribe(&channel("a"));
    asked(&wanted);
    assert_eq!(wanted.confirm(&channel("a")), Some(false));
    let _second = wanted.subscribe(&channel("b"));
    wanted.lost();
    assert_eq!(asked(&wanted), [channel("a"), channel("b")]);
    assert_eq!(wanted.confirm(&channel("b")), Some(false), "it was never live");
    assert_eq!(wanted.confirm(&channel("a")), Some(true));
    assert_eq!(wanted.confirm(&channel("a")), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_unconfirmed_is_kept_for_its_confirmation_until_redis_has_answered() {
    let wanted = wanted();
    let _receipts = [wanted.subscribe(&channel("left")), wanted.subscribe(&channel("kept"))];
    let number = wanted.next_to_subscribe().unwrap().number;
    wanted.unsubscribe(&channel("left"));
    tokio::time::advance(LEAVE_DELAY * 2).await;
    assert!(wanted.next_to_unsubscribe().is_empty());
    wanted.answered(number);
    tokio::time::advance(REFUSED_PAUSE.pause_after(0)).await;
    wanted.retry();
    let again = wanted.next_to_subscribe().unwrap();
    assert_eq!((again.together, again.alone), (vec![], vec![channel("kept")]));
    assert_eq!(wanted.confirm(&channel("left")), None);
}

#[tokio::test(start_paused = true)]
async fn what_redis_ends_by_itself_is_asked_for_again_and_has_a_gap() {
    let wanted = wanted();
    let _receipt = wanted.subscribe(&channel("a"));
    asked(&wanted);
    assert!(!wanted.interrupted(&channel("a")), "it was not live");
    wanted.confirm(&channel("a"));
    assert!(wanted.interrupted(&channel("a")));
    assert_eq!(asked(&wanted), [channel("a")]);
    assert_eq!(wanted.confirm(&channel("a")), Some(true));
}

#[tokio::test(start_paused = true)]
async fn who_moves_takes_along_who_waits_and_what_was_interrupted() {
    let (old, new) = (wanted(), wanted());
    let _live = old.subscribe(&channel("live"));
    asked(&old);
    old.confirm(&channel("live"));
    let waits = old.subscribe(&channel("waits"));
    let _stays = old.subscribe(&channel("stays"));
    new.join(old.leave(|channel| channel.as_str() != "stays"));
    assert_eq!(asked(&old), [channel("stays")]);
    assert_eq!(old.confirm(&channel("live")), None);
    assert_eq!(asked(&new), [channel("live"), channel("waits")]);
    assert_eq!(new.confirm(&channel("live")), Some(true));
    assert_eq!(new.confirm(&channel("waits")), Some(false));
    assert_eq!(waits.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn many_channels_are_asked_for_in_batches_that_await_their_answers() {
    let wanted = wanted();
    let many = CHANNELS_PER_COMMAND_MAX * 3;
    let _receipts: Vec<_> =
        (0..many).map(|number| wanted.subscribe(&channel(&number.to_string()))).collect();
    let first = wanted.next_to_subscribe().unwrap();
    assert_eq!(first.together.len(), CHANNELS_PER_COMMAND_MAX);
    assert!(wanted.next_to_subscribe().is_some());
    assert!(wanted.next_to_subscribe().is_none());
    first.together.iter().for_each(|channel| _ = wanted.confirm(channel));
    wanted.answered(first.number);
    assert!(wanted.next_to_subscribe().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told() {
    let wanted = wanted();
    let receipt = wanted.subscribe(&channel("a"));
    tokio::time::advance(Duration::from_secs(3)).await;
    wanted.expire();
    assert_eq!(receipt.await, Err(UNCONFIRMED));
}
