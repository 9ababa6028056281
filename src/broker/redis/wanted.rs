//! The channels this node wants of Redis: the truth that the subscriber task reconciles with what
//! Redis has confirmed, whatever happens to the connection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::{CHANNELS_PER_COMMAND_MAX, Receipt, Unavailable};
use crate::publication::Channel;
use crate::telemetry;

/// How long a channel is kept after its last local subscriber left: a page reload costs nothing.
const LEAVE_DELAY: Duration = Duration::from_secs(1);

const UNCONFIRMED: Unavailable = Unavailable("redis did not confirm the subscription in time");

/// What is wanted, and how far Redis has confirmed it.
pub struct Wanted {
    state: Mutex<Channels>,
    /// Something is new: a channel to subscribe to.
    changed: Notify,
    confirm_timeout: Duration,
}

#[derive(Default)]
struct Channels {
    entries: HashMap<Channel, Entry>,
    /// To be asked of Redis, in the order they were wanted.
    fresh: VecDeque<Channel>,
    /// When they were left, oldest first. A channel that was wanted again meanwhile stands here in
    /// vain: its entry says so.
    left: VecDeque<(Instant, Channel)>,
    confirmed: usize,
}

#[derive(Default)]
struct Entry {
    confirmed: bool,
    /// It was confirmed on a connection that has been lost since.
    gap: bool,
    left_at: Option<Instant>,
    waiting: Vec<(Instant, oneshot::Sender<Result<(), Unavailable>>)>,
}

impl Wanted {
    pub fn new(confirm_timeout: Duration) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), confirm_timeout }
    }

    pub fn subscribe(&self, channel: &Channel) -> Receipt<()> {
        let mut channels = self.lock();
        if !channels.entries.contains_key(channel) {
            channels.entries.insert(channel.clone(), Entry::default());
            channels.fresh.push_back(channel.clone());
            self.changed.notify_one();
            channels.count();
        }
        let entry = channels.entries.get_mut(channel).expect("it was there or is now");
        entry.left_at = None;
        if entry.confirmed {
            return Receipt::now(Ok(()));
        }
        let (waiting, receipt) = Receipt::later();
        entry.waiting.push((Instant::now() + self.confirm_timeout, waiting));
        receipt
    }

    pub fn unsubscribe(&self, channel: &Channel) {
        let mut channels = self.lock();
        let now = Instant::now();
        if let Some(entry) = channels.entries.get_mut(channel) {
            entry.left_at = Some(now);
            channels.left.push_back((now, channel.clone()));
        }
    }

    /// Returns once there may be something to subscribe to.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The connection is gone: nothing is confirmed, everything is to be asked for again.
    pub fn lost(&self) {
        let mut channels = self.lock();
        channels.confirmed = 0;
        channels.fresh.clear();
        channels.left.clear();
        let Channels { entries, fresh, .. } = &mut *channels;
        entries.retain(|_, entry| entry.left_at.is_none());
        entries.shrink_to(entries.len() * 2);
        for (channel, entry) in entries {
            entry.gap |= std::mem::take(&mut entry.confirmed);
            fresh.push_back(channel.clone());
        }
        channels.count();
    }

    /// The next channels to subscribe to, in batches that do not hold Redis up.
    pub fn next_to_subscribe(&self) -> Vec<Channel> {
        let mut channels = self.lock();
        let Channels { entries, fresh, .. } = &mut *channels;
        let mut next = Vec::new();
        while next.len() < CHANNELS_PER_COMMAND_MAX
            && let Some(channel) = fresh.pop_front()
        {
            // It may have been left meanwhile.
            if entries.contains_key(&channel) {
                next.push(channel);
            }
        }
        next
    }

    /// The channels nobody has come back to. They are no longer wanted when this returns; wanted
    /// again, they are asked for again after what is done with this list.
    pub fn next_to_unsubscribe(&self) -> Vec<Channel> {
        let mut channels = self.lock();
        let mut over = Vec::new();
        while let Some((at, _)) = channels.left.front()
            && at.elapsed() >= LEAVE_DELAY
            && over.len() < CHANNELS_PER_COMMAND_MAX
        {
            let (at, channel) = channels.left.pop_front().expect("it was just looked at");
            let entry = channels.entries.get_mut(&channel).filter(|it| it.left_at == Some(at));
            match entry {
                None => {}
                Some(entry) if entry.confirmed => {
                    channels.entries.remove(&channel);
                    channels.confirmed -= 1;
                    over.push(channel);
                }
                Some(entry) => {
                    // Its confirmation is still to come, and must not answer a newer wish.
                    let now = Instant::now();
                    entry.left_at = Some(now);
                    channels.left.push_back((now, channel));
                }
            }
        }
        channels.count();
        over
    }

    /// Redis confirmed the channel. True: it had been interrupted.
    pub fn confirm(&self, channel: &Channel) -> bool {
        let mut channels = self.lock();
        let Some(entry) = channels.entries.get_mut(channel) else { return false };
        for (_, waiting) in std::mem::take(&mut entry.waiting) {
            // The session may be gone; then nobody waits.
            let _ = waiting.send(Ok(()));
        }
        let interrupted = std::mem::take(&mut entry.gap);
        let newly = !std::mem::replace(&mut entry.confirmed, true);
        channels.confirmed += usize::from(newly);
        channels.count();
        interrupted
    }

    /// What Redis has not confirmed, whether it was asked or not.
    pub fn unconfirmed(&self) -> Vec<Channel> {
        let channels = self.lock();
        let entries = channels.entries.iter().filter(|(_, entry)| !entry.confirmed);
        entries.map(|(channel, _)| channel.clone()).collect()
    }

    /// Forgets what Redis has not confirmed and nobody wants any more. Without it, channels that
    /// Redis forbids would be kept for ever.
    pub fn abandon(&self) -> Vec<Channel> {
        let mut channels = self.lock();
        let over = channels.entries.extract_if(|_, it| !it.confirmed && it.left_at.is_some());
        let over = over.map(|(channel, _)| channel).collect();
        channels.count();
        over
    }

    /// Tells those who have waited too long for a confirmation.
    pub fn expire(&self) {
        let mut channels = self.lock();
        let now = Instant::now();
        let unconfirmed = channels.entries.len() - channels.confirmed;
        if unconfirmed == 0 {
            return;
        }
        for entry in channels.entries.values_mut().filter(|entry| !entry.confirmed) {
            for (_, waiting) in entry.waiting.extract_if(.., |(deadline, _)| *deadline <= now) {
                let _ = waiting.send(Err(UNCONFIRMED));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Channels> {
        self.state.lock().expect("no code panics while it holds the wanted channels' lock")
    }
}

impl Channels {
    fn count(&self) {
        telemetry::subscriptions(self.entries.len(), self.confirmed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::new(name).unwrap()
    }

    fn wanted() -> Wanted {
        Wanted::new(Duration::from_secs(2))
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_is_asked_for_once_however_many_want_it() {
        let wanted = wanted();
        let receipts = [wanted.subscribe(&channel("a")), wanted.subscribe(&channel("a"))];
        assert_eq!(wanted.next_to_subscribe(), [channel("a")]);
        assert!(wanted.next_to_subscribe().is_empty());
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
        wanted.next_to_subscribe();
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
        wanted.next_to_subscribe();
        assert!(!wanted.confirm(&channel("a")));
        let _second = wanted.subscribe(&channel("b"));
        wanted.lost();
        let mut again = wanted.next_to_subscribe();
        again.sort();
        assert_eq!(again, [channel("a"), channel("b")]);
        assert!(!wanted.confirm(&channel("b")), "it was never live");
        assert!(wanted.confirm(&channel("a")));
        assert!(!wanted.confirm(&channel("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_unconfirmed_is_kept_for_its_confirmation_until_it_is_abandoned() {
        let wanted = wanted();
        let _receipts = [wanted.subscribe(&channel("left")), wanted.subscribe(&channel("kept"))];
        wanted.next_to_subscribe();
        wanted.unsubscribe(&channel("left"));
        tokio::time::advance(LEAVE_DELAY * 2).await;
        assert!(wanted.next_to_unsubscribe().is_empty());
        assert_eq!(wanted.abandon(), [channel("left")]);
        assert_eq!(wanted.unconfirmed(), [channel("kept")]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told() {
        let wanted = wanted();
        let receipt = wanted.subscribe(&channel("a"));
        tokio::time::advance(Duration::from_secs(3)).await;
        wanted.expire();
        assert_eq!(receipt.await, Err(UNCONFIRMED));
    }
}
