//! The channels this node wants of one master: the truth that the subscriber task reconciles with
//! what Redis has confirmed, whatever happens to the connection.

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
use crate::broker::redis::pubsub::CHANNELS_PER_COMMAND_MAX;
use crate::broker::unavailable::Unavailable;
use crate::publication::Channel;

/// How long a channel is kept after its last local subscriber left: a page reload costs nothing.
const LEAVE_DELAY: Duration = Duration::from_secs(1);

/// Batches that are asked before Redis has answered the first of them. What comes between them is
/// read, so a node that asks for very many channels stays as quick as ever.
const BATCHES_MAX: usize = 2;

const UNCONFIRMED: Unavailable = Unavailable("redis did not confirm the subscription in time");

/// What is wanted, and how far Redis has confirmed it.
pub struct SubscriptionQueue {
    state: Mutex<WantedChannels>,
    /// Something is new: a channel to subscribe to.
    changed: Notify,
    confirm_timeout: Duration,
    tally: Arc<SubscriptionCounts>,
}

#[derive(Default)]
struct WantedChannels {
    entries: HashMap<Channel, WantedChannel>,
    /// To be asked of Redis, in the order they were wanted. Who is no longer [`SubscribeState::Fresh`]
    /// stands here in vain, as in the other lists.
    fresh: VecDeque<Channel>,
    /// Asked and not answered whole: the batches' numbers, and what was asked.
    asked: VecDeque<(u64, Vec<Channel>)>,
    batches: u64,
    /// When they are to be asked again.
    refused: BinaryHeap<Reverse<(Instant, Channel)>>,
    /// When they were left, oldest first.
    left: VecDeque<(Instant, Channel)>,
    /// When those who wait for a channel are told that it takes too long, earliest first.
    deadlines: VecDeque<(Instant, Channel)>,
    confirmed: usize,
    /// Wanted and confirmed, as the tally has them.
    told: (usize, usize),
}

/// What is to be asked of Redis now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SubscribeBatch {
    /// Counts up. Once Redis has answered all of it, that is for [`SubscriptionQueue::answered`] to know.
    pub number: u64,
    pub together: Vec<Channel>,
    /// Each in a command of its own.
    pub alone: Vec<Channel>,
}

impl SubscriptionQueue {
    pub fn new(confirm_timeout: Duration, tally: Arc<SubscriptionCounts>) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), confirm_timeout, tally }
    }

    pub fn subscribe(&self, channel: &Channel) -> Receipt<()> {
        let mut channels = self.lock();
        if !channels.entries.contains_key(channel) {
            channels.entries.insert(channel.clone(), WantedChannel::default());
            channels.fresh.push_back(channel.clone());
            self.changed.notify_one();
            self.count(&mut channels);
        }
        let entry = channels.entries.get_mut(channel).expect("it was there or is now");
        entry.left_at = None;
        if entry.standing == SubscribeState::Confirmed {
            return Receipt::now(Ok(()));
        }
        let (waiting, receipt) = Receipt::later();
        let deadline = Instant::now() + self.confirm_timeout;
        entry.waiting.push((deadline, waiting));
        channels.deadlines.push_back((deadline, channel.clone()));
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
        channels.asked.clear();
        channels.refused.clear();
        channels.left.clear();
        let WantedChannels { entries, fresh, .. } = &mut *channels;
        entries.retain(|_, entry| entry.left_at.is_none());
        entries.shrink_to(entries.len() * 2);
        for (channel, entry) in entries {
            entry.interrupt();
            fresh.push_back(channel.clone());
        }
        self.count(&mut channels);
    }

    /// The next channels to subscribe to. None: there are none, or Redis has yet to answer for
    /// those before.
    pub fn next_to_subscribe(&self) -> Option<SubscribeBatch> {
        let mut channels = self.lock();
        if channels.asked.len() >= BATCHES_MAX {
            return None;
        }
        let number = channels.batches + 1;
        let mut batch = SubscribeBatch { number, ..SubscribeBatch::default() };
        let mut all = Vec::new();
        while all.len() < CHANNELS_PER_COMMAND_MAX
            && let Some(channel) = channels.fresh.pop_front()
        {
            let entry = channels.entries.get_mut(&channel);
            let Some(entry) = entry.filter(|it| it.standing == SubscribeState::Fresh) else {
                continue;
            };
            entry.standing = SubscribeState::Asked(number);
            all.push(channel.clone());
            match entry.refusals {
                0 => batch.together.push(channel),
                _ => batch.alone.push(channel),
            }
        }
        if all.is_empty() {
            return None;
        }
        channels.batches = number;
        channels.asked.push_back((number, all));
        Some(batch)
    }

    /// Redis confirmed the channel. None: nobody wants that any more; true: it had been interrupted.
    pub fn confirm(&self, channel: &Channel) -> Option<bool> {
        let mut channels = self.lock();
        let entry = channels.entries.get_mut(channel)?;
        let SubscribeState::Asked(_) = entry.standing else { return None };
        for (_, waiting) in std::mem::take(&mut entry.waiting) {
            // The session may be gone; then nobody waits.
            let _ = waiting.send(Ok(()));
        }
        entry.standing = SubscribeState::Confirmed;
        entry.refusals = 0;
        let interrupted = std::mem::take(&mut entry.gap);
        channels.confirmed += 1;
        self.count(&mut channels);
        Some(interrupted)
    }

    /// Redis has answered the batches up to this number: what it has not confirmed of them it has
    /// refused. That is asked for again after a pause, or let go where nobody wants it any more:
    /// else channels that Redis forbids would be kept for ever.
    pub fn answered(&self, number: u64) {
        let mut channels = self.lock();
        let now = Instant::now();
        while channels.asked.front().is_some_and(|(batch, _)| *batch <= number) {
            let (batch, asked) = channels.asked.pop_front().expect("it was just looked at");
            let WantedChannels { entries, refused, .. } = &mut *channels;
            for channel in asked {
                let Some(entry) = entries.get_mut(&channel) else { continue };
                if entry.standing != SubscribeState::Asked(batch) {
                    continue;
                }
                if entry.left_at.is_some() {
                    entries.remove(&channel);
                    continue;
                }
                refused.push(Reverse((now + entry.refuse(), channel)));
            }
        }
        self.count(&mut channels);
    }

    /// Is an answer of Redis still to come?
    pub fn unanswered(&self) -> Option<u64> {
        self.lock().asked.back().map(|(number, _)| *number)
    }

    /// Puts what was refused in line again, each in its time.
    pub fn retry(&self) {
        let mut channels = self.lock();
        let now = Instant::now();
        while channels.refused.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Reverse((_, channel)) = channels.refused.pop().expect("it was just looked at");
            let entry = channels.entries.get_mut(&channel);
            if let Some(entry) = entry.filter(|it| it.standing == SubscribeState::Refused) {
                entry.standing = SubscribeState::Fresh;
                channels.fresh.push_back(channel);
                self.changed.notify_one();
            }
        }
    }

    /// Redis ended a subscription by itself. True: it is wanted, and asked for again.
    pub fn interrupted(&self, channel: &Channel) -> bool {
        let mut channels = self.lock();
        let entry = channels.entries.get_mut(channel);
        let Some(entry) = entry.filter(|it| it.standing == SubscribeState::Confirmed) else {
            return false;
        };
        entry.interrupt();
        channels.confirmed -= 1;
        channels.fresh.push_back(channel.clone());
        self.changed.notify_one();
        self.count(&mut channels);
        true
    }

    /// Those of the confirmed channels that are meant.
    pub fn confirmed(&self, is_meant: impl Fn(&Channel) -> bool) -> Vec<Channel> {
        let channels = self.lock();
        let confirmed = channels.entries.iter().filter(|(channel, entry)| {
            entry.standing == SubscribeState::Confirmed && is_meant(channel)
        });
        confirmed.map(|(channel, _)| channel.clone()).collect()
    }

    /// The channels nobody has come back to. They are no longer wanted when this returns; wanted
    /// again, they are asked for again after what is done with this list.
    pub fn next_to_unsubscribe(&self) -> Vec<Channel> {
        let mut channels = self.lock();
        let now = Instant::now();
        let mut over = Vec::new();
        while let Some((at, _)) = channels.left.front()
            && *at + LEAVE_DELAY <= now
            && over.len() < CHANNELS_PER_COMMAND_MAX
        {
            let (at, channel) = channels.left.pop_front().expect("it was just looked at");
            let entry = channels.entries.get_mut(&channel).filter(|it| it.left_at == Some(at));
            let Some(entry) = entry else { continue };
            match entry.standing {
                SubscribeState::Confirmed => {
                    channels.entries.remove(&channel);
                    channels.confirmed -= 1;
                    over.push(channel);
                }
                SubscribeState::Asked(_) => {
                    // Its confirmation is still to come, and must not answer a newer wish.
                    entry.left_at = Some(now);
                    channels.left.push_back((now, channel));
                }
                SubscribeState::Fresh | SubscribeState::Refused => {
                    channels.entries.remove(&channel);
                }
            }
        }
        self.count(&mut channels);
        over
    }

    /// Takes out the channels that `moves` says, with those who wait for them.
    pub fn leave(&self, moves: impl Fn(&Channel) -> bool) -> Vec<(Channel, WantedChannel)> {
        let mut channels = self.lock();
        let mut moved: Vec<_> = channels.entries.extract_if(|channel, _| moves(channel)).collect();
        for (_, entry) in &mut moved {
            channels.confirmed -= usize::from(entry.standing == SubscribeState::Confirmed);
            entry.interrupt();
        }
        // What nobody wants is forgotten on the way.
        moved.retain(|(_, entry)| entry.left_at.is_none());
        self.count(&mut channels);
        moved
    }

    /// The channels that `which` says and that are still wanted.
    pub fn channels(&self, which: impl Fn(&Channel) -> bool) -> Vec<Channel> {
        let channels = self.lock();
        let wanted = channels.entries.iter().filter(|(_, entry)| entry.left_at.is_none());
        wanted.map(|(channel, _)| channel).filter(|channel| which(channel)).cloned().collect()
    }

    /// Wants channels of this master too. They count as interrupted, as something may have been published
    /// here before.
    pub fn accompany(&self, more: Vec<Channel>) {
        let mut channels = self.lock();
        for channel in more {
            let entry = channels.entries.entry(channel.clone()).or_default();
            entry.left_at = None;
            if entry.standing == SubscribeState::Fresh {
                entry.gap = true;
                channels.fresh.push_back(channel);
            }
        }
        self.changed.notify_one();
        self.count(&mut channels);
    }

    /// Takes in channels that were wanted of another master. They count as interrupted where they
    /// had been confirmed there.
    pub fn join(&self, moved: Vec<(Channel, WantedChannel)>) {
        let mut channels = self.lock();
        for (channel, mut entry) in moved {
            // It was wanted here too while its slot moved. Redis ends such a subscription.
            if let Some(mut before) = channels.entries.remove(&channel) {
                channels.confirmed -= usize::from(before.standing == SubscribeState::Confirmed);
                before.interrupt();
                entry.gap |= before.gap;
                entry.waiting.append(&mut before.waiting);
            }
            let waiting = entry.waiting.iter().map(|(deadline, _)| (*deadline, channel.clone()));
            channels.deadlines.extend(waiting);
            channels.fresh.push_back(channel.clone());
            channels.entries.insert(channel, entry);
        }
        channels.deadlines.make_contiguous().sort_by_key(|(deadline, _)| *deadline);
        self.changed.notify_one();
        self.count(&mut channels);
    }

    /// Tells those who have waited too long for a confirmation.
    pub fn expire(&self) {
        let mut channels = self.lock();
        let now = Instant::now();
        while channels.deadlines.front().is_some_and(|(deadline, _)| *deadline <= now) {
            let (_, channel) = channels.deadlines.pop_front().expect("it was just looked at");
            let Some(entry) = channels.entries.get_mut(&channel) else { continue };
            for (_, waiting) in entry.waiting.extract_if(.., |(deadline, _)| *deadline <= now) {
                let _ = waiting.send(Err(UNCONFIRMED));
            }
        }
    }

    fn count(&self, channels: &mut WantedChannels) {
        let now = (channels.entries.len(), channels.confirmed);
        let before = std::mem::replace(&mut channels.told, now);
        if before != now {
            self.tally.changed(before, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, WantedChannels> {
        self.state.lock().expect("no code panics while it holds the wanted channels' lock")
    }
}

#[cfg(test)]
mod tests;
