//! The channels that this node wants from one master. The subscriber task reconciles them with
//! those that Redis has confirmed, whatever happens to the connection.

mod entry;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::entry::{SubscribeState, WantedChannel};
use super::subscription_counts::SubscriptionCounts;
use crate::broker::receipt::Receipt;
use crate::broker::redis::pattern_channels::is_pattern;
use crate::broker::redis::pubsub::CHANNELS_PER_COMMAND_MAX;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;

/// How long a channel stays subscribed after its last local subscriber, so that a page reload costs
/// nothing.
const UNSUBSCRIBE_DELAY: Duration = Duration::from_secs(1);

/// Maximum number of unanswered batches. Messages between two batches are read, so a node that
/// requests very many channels keeps delivering.
const BATCHES_IN_FLIGHT_MAX: usize = 2;

const UNCONFIRMED: Unavailable = Unavailable("redis did not confirm the subscription in time");

/// The wanted channels, and how far Redis has confirmed them.
pub struct SubscriptionQueue {
    state: Mutex<WantedChannels>,
    /// Notified when a channel has to be subscribed.
    changed: Notify,
    confirm_timeout: Duration,
    counts: Arc<SubscriptionCounts>,
}

#[derive(Default)]
struct WantedChannels {
    entries: HashMap<Channel, WantedChannel>,
    /// Channels to request, in order. As in the other lists, an entry is ignored if the channel is
    /// no longer in that state, here [`SubscribeState::Pending`].
    pending: VecDeque<Channel>,
    /// Unanswered batches: their numbers and channels.
    in_flight: VecDeque<(u64, Vec<Channel>)>,
    batches: u64,
    /// When refused channels are requested again.
    refused: BinaryHeap<Reverse<(Instant, Channel)>>,
    /// When channels lost their last subscriber, oldest first.
    unsubscribed: VecDeque<(Instant, Channel)>,
    /// When waiting subscribers of a channel get an error, earliest first.
    deadlines: VecDeque<(Instant, Channel)>,
    confirmed: usize,
    /// The numbers of wanted and confirmed channels in the counts over all masters.
    counted: (usize, usize),
}

/// The channels to request now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SubscribeBatch {
    /// Counts up. Pass it to [`SubscriptionQueue::answered`] once Redis has answered the whole
    /// batch.
    pub number: u64,
    pub combined: Vec<Channel>,
    /// Each in a command of its own.
    pub single: Vec<Channel>,
}

impl SubscriptionQueue {
    pub fn new(confirm_timeout: Duration, counts: Arc<SubscriptionCounts>) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), confirm_timeout, counts }
    }

    pub fn subscribe(&self, channel: &Channel) -> Receipt<()> {
        let mut channels = self.lock();
        if !channels.entries.contains_key(channel) {
            channels.entries.insert(channel.clone(), WantedChannel::default());
            channels.pending.push_back(channel.clone());
            self.changed.notify_one();
            self.count(&mut channels);
        }
        let entry = channels.entries.get_mut(channel).expect("it was inserted above");
        entry.unsubscribed_at = None;
        if entry.state == SubscribeState::Confirmed {
            return Receipt::ready(Ok(()));
        }
        let (waiter, receipt) = Receipt::pending();
        let deadline = Instant::now() + self.confirm_timeout;
        entry.waiters.push((deadline, waiter));
        channels.deadlines.push_back((deadline, channel.clone()));
        receipt
    }

    pub fn unsubscribe(&self, channel: &Channel) {
        let mut channels = self.lock();
        let now = Instant::now();
        if let Some(entry) = channels.entries.get_mut(channel) {
            entry.unsubscribed_at = Some(now);
            channels.unsubscribed.push_back((now, channel.clone()));
        }
    }

    /// Resolves once there may be channels to request.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The connection is lost: no channel is confirmed, and all are pending.
    pub fn connection_lost(&self) {
        let mut channels = self.lock();
        channels.confirmed = 0;
        channels.pending.clear();
        channels.in_flight.clear();
        channels.refused.clear();
        channels.unsubscribed.clear();
        let WantedChannels { entries, pending, .. } = &mut *channels;
        entries.retain(|_, entry| entry.unsubscribed_at.is_none());
        entries.shrink_to(entries.len() * 2);
        for (channel, entry) in entries {
            entry.interrupt();
            pending.push_back(channel.clone());
        }
        // Patterns last: they deliver also to the subscribers of channels, which must have been told of the interruption.
        if pending.iter().any(is_pattern) {
            pending.make_contiguous().sort_by_key(is_pattern);
        }
        self.count(&mut channels);
    }

    /// The next channels to request. `None`: there are none, or too many batches are unanswered.
    pub fn next_to_subscribe(&self) -> Option<SubscribeBatch> {
        let mut channels = self.lock();
        if channels.in_flight.len() >= BATCHES_IN_FLIGHT_MAX {
            return None;
        }
        let number = channels.batches + 1;
        let mut batch = SubscribeBatch { number, ..SubscribeBatch::default() };
        let mut all = Vec::new();
        while all.len() < CHANNELS_PER_COMMAND_MAX
            && let Some(channel) = channels.pending.pop_front()
        {
            let entry = channels.entries.get_mut(&channel);
            let Some(entry) = entry.filter(|it| it.state == SubscribeState::Pending) else {
                continue;
            };
            entry.state = SubscribeState::Sent(number);
            all.push(channel.clone());
            match entry.refusals {
                0 => batch.combined.push(channel),
                _ => batch.single.push(channel),
            }
        }
        if all.is_empty() {
            return None;
        }
        channels.batches = number;
        channels.in_flight.push_back((number, all));
        Some(batch)
    }

    /// Redis confirmed the channel. `None`: it is not wanted; true: it had been interrupted.
    pub fn confirm(&self, channel: &Channel) -> Option<bool> {
        let mut channels = self.lock();
        let entry = channels.entries.get_mut(channel)?;
        let SubscribeState::Sent(_) = entry.state else { return None };
        for (_, waiter) in std::mem::take(&mut entry.waiters) {
            // The session may have ended and dropped its receipt.
            let _ = waiter.send(Ok(()));
        }
        entry.state = SubscribeState::Confirmed;
        entry.refusals = 0;
        let interrupted = std::mem::take(&mut entry.gap);
        channels.confirmed += 1;
        self.count(&mut channels);
        Some(interrupted)
    }

    /// Redis has answered the batches up to this number: it has refused what it has not confirmed.
    /// Refused channels are requested again after a pause, or forgotten if they have no
    /// subscribers; otherwise forbidden channels would be kept for ever.
    pub fn answered(&self, number: u64) {
        let mut channels = self.lock();
        let now = Instant::now();
        while channels.in_flight.front().is_some_and(|(batch, _)| *batch <= number) {
            let (batch, requested) =
                channels.in_flight.pop_front().expect("the queue was just found not empty");
            let WantedChannels { entries, refused, .. } = &mut *channels;
            for channel in requested {
                let Some(entry) = entries.get_mut(&channel) else { continue };
                if entry.state != SubscribeState::Sent(batch) {
                    continue;
                }
                if entry.unsubscribed_at.is_some() {
                    entries.remove(&channel);
                    continue;
                }
                refused.push(Reverse((now + entry.refuse(), channel)));
            }
        }
        self.count(&mut channels);
    }

    /// The number of the last unanswered batch.
    pub fn last_unanswered(&self) -> Option<u64> {
        self.lock().in_flight.back().map(|(number, _)| *number)
    }

    /// Makes refused channels pending again when they are due.
    pub fn retry(&self) {
        let mut channels = self.lock();
        let now = Instant::now();
        while channels.refused.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Reverse((_, channel)) =
                channels.refused.pop().expect("the queue was just found not empty");
            let entry = channels.entries.get_mut(&channel);
            if let Some(entry) = entry.filter(|it| it.state == SubscribeState::Refused) {
                entry.state = SubscribeState::Pending;
                channels.pending.push_back(channel);
                self.changed.notify_one();
            }
        }
    }

    /// Redis ended a subscription. True: the channel is wanted, and pending again.
    pub fn interrupted(&self, channel: &Channel) -> bool {
        let mut channels = self.lock();
        let entry = channels.entries.get_mut(channel);
        let Some(entry) = entry.filter(|it| it.state == SubscribeState::Confirmed) else {
            return false;
        };
        entry.interrupt();
        channels.confirmed -= 1;
        channels.pending.push_back(channel.clone());
        self.changed.notify_one();
        self.count(&mut channels);
        true
    }

    /// The confirmed channels that `is_meant` accepts.
    pub fn confirmed(&self, is_meant: impl Fn(&Channel) -> bool) -> Vec<Channel> {
        let channels = self.lock();
        let confirmed = channels.entries.iter().filter(|(channel, entry)| {
            entry.state == SubscribeState::Confirmed && is_meant(channel)
        });
        confirmed.map(|(channel, _)| channel.clone()).collect()
    }

    /// The channels to unsubscribe. They are no longer wanted when this returns; if wanted again,
    /// they are requested after the `UNSUBSCRIBE` of this list.
    pub fn next_to_unsubscribe(&self) -> Vec<Channel> {
        let mut channels = self.lock();
        let now = Instant::now();
        let mut unused = Vec::new();
        while let Some((at, _)) = channels.unsubscribed.front()
            && *at + UNSUBSCRIBE_DELAY <= now
            && unused.len() < CHANNELS_PER_COMMAND_MAX
        {
            let (at, channel) =
                channels.unsubscribed.pop_front().expect("the queue was just found not empty");
            let entry =
                channels.entries.get_mut(&channel).filter(|it| it.unsubscribed_at == Some(at));
            let Some(entry) = entry else { continue };
            match entry.state {
                SubscribeState::Confirmed => {
                    channels.entries.remove(&channel);
                    channels.confirmed -= 1;
                    unused.push(channel);
                }
                SubscribeState::Sent(_) => {
                    // Its confirmation is still to come and must not answer a newer subscription.
                    entry.unsubscribed_at = Some(now);
                    channels.unsubscribed.push_back((now, channel));
                }
                SubscribeState::Pending | SubscribeState::Refused => {
                    channels.entries.remove(&channel);
                }
            }
        }
        self.count(&mut channels);
        unused
    }

    /// Removes the channels that `moves` accepts, with their waiting subscribers.
    pub fn remove(&self, moves: impl Fn(&Channel) -> bool) -> Vec<(Channel, WantedChannel)> {
        let mut channels = self.lock();
        let mut moved: Vec<_> = channels.entries.extract_if(|channel, _| moves(channel)).collect();
        for (_, entry) in &mut moved {
            channels.confirmed -= usize::from(entry.state == SubscribeState::Confirmed);
            entry.interrupt();
        }
        // Channels without subscribers are forgotten here.
        moved.retain(|(_, entry)| entry.unsubscribed_at.is_none());
        self.count(&mut channels);
        moved
    }

    /// The wanted channels that `which` accepts.
    pub fn channels(&self, which: impl Fn(&Channel) -> bool) -> Vec<Channel> {
        let channels = self.lock();
        let wanted = channels.entries.iter().filter(|(_, entry)| entry.unsubscribed_at.is_none());
        wanted.map(|(channel, _)| channel).filter(|channel| which(channel)).cloned().collect()
    }

    /// Also wants these channels from this master. They count as interrupted, because something may
    /// have been published here before.
    pub fn add_interrupted(&self, added: Vec<Channel>) {
        let mut channels = self.lock();
        for channel in added {
            let entry = channels.entries.entry(channel.clone()).or_default();
            entry.unsubscribed_at = None;
            if entry.state == SubscribeState::Pending {
                entry.gap = true;
                channels.pending.push_back(channel);
            }
        }
        self.changed.notify_one();
        self.count(&mut channels);
    }

    /// Adds channels that were wanted from another master. Those that were confirmed there count as
    /// interrupted.
    pub fn merge(&self, moved: Vec<(Channel, WantedChannel)>) {
        let mut channels = self.lock();
        for (channel, mut entry) in moved {
            // The channel was wanted here too while its slot moved. Redis ends such a subscription.
            if let Some(mut before) = channels.entries.remove(&channel) {
                channels.confirmed -= usize::from(before.state == SubscribeState::Confirmed);
                before.interrupt();
                entry.gap |= before.gap;
                entry.waiters.append(&mut before.waiters);
            }
            let waiter = entry.waiters.iter().map(|(deadline, _)| (*deadline, channel.clone()));
            channels.deadlines.extend(waiter);
            channels.pending.push_back(channel.clone());
            channels.entries.insert(channel, entry);
        }
        channels.deadlines.make_contiguous().sort_by_key(|(deadline, _)| *deadline);
        self.changed.notify_one();
        self.count(&mut channels);
    }

    /// Fails subscriptions that have waited too long for their confirmation.
    pub fn expire(&self) {
        let mut channels = self.lock();
        let now = Instant::now();
        while channels.deadlines.front().is_some_and(|(deadline, _)| *deadline <= now) {
            let (_, channel) =
                channels.deadlines.pop_front().expect("the queue was just found not empty");
            let Some(entry) = channels.entries.get_mut(&channel) else { continue };
            for (_, waiter) in entry.waiters.extract_if(.., |(deadline, _)| *deadline <= now) {
                let _ = waiter.send(Err(UNCONFIRMED));
            }
        }
    }

    fn count(&self, channels: &mut WantedChannels) {
        let now = (channels.entries.len(), channels.confirmed);
        let before = std::mem::replace(&mut channels.counted, now);
        if before != now {
            self.counts.changed(before, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, WantedChannels> {
        self.state.lock().expect("no code panics while it holds the wanted channels' lock")
    }
}

#[cfg(test)]
mod tests;
