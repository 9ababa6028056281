//! Catches a channel up from history without a gap or a repetition. Each step locks the channel for a few
//! lines, lets its [`ChannelCursor`] decide, and delivers the resulting events to the subscribers of that
//! moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::broker::{Broker, PAGE_MAX, Page, Unavailable};
use crate::hub::channel_cursor::{ChannelCursor, RecoveryStep};
use crate::hub::channel_event::ChannelEvent;
use crate::hub::recovery_queue::{RecoveryTask, Tries};
use crate::hub::registry::Registry;
use crate::hub::subscribers::Snapshot;
use crate::protocol::Push;
use crate::publication::{Channel, Position};

/// The pauses between attempts of a failed read, for as long as it is current.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// The pause after which a step checks again whether the previous step's events were delivered.
const TELLING_PAUSE: Duration = Duration::from_millis(5);

/// Reads what channels have missed. Cheap to clone.
#[derive(Clone)]
pub struct CatchUp {
    pub registry: Arc<Registry>,
    pub broker: Arc<dyn Broker>,
}

impl CatchUp {
    /// Requests the ends of the histories, and catches up where something was missed.
    pub async fn open(self, channels: Vec<(Channel, u64, Tries)>) {
        let names = channels.iter().map(|(channel, ..)| channel.clone()).collect();
        let ends = self.broker.positions(names).await;
        for ((channel, reading, tries), end) in channels.into_iter().zip(ends) {
            match end {
                Ok(end) => match self.step(&channel, reading, |tail, it| tail.ends_at(end, it)) {
                    RecoveryStep::Done => {}
                    RecoveryStep::Release => self.clone().release(channel, reading),
                    RecoveryStep::Page(_) => self.add(RecoveryTask::CatchUp(channel, reading, 0)),
                    RecoveryStep::Later => {
                        self.clone()
                            .again(RecoveryTask::Open(channel, reading, tries), TELLING_PAUSE);
                    }
                },
                Err(why) => {
                    self.failed(&channel, reading, why);
                    self.clone().again(
                        RecoveryTask::Open(channel, reading, tries + 1),
                        RETRY.pause_after(tries),
                    );
                }
            }
        }
    }

    /// Reads page after page of what was missed. After a failure the channel is queued again, behind others.
    pub async fn catch_up(self, channel: Channel, reading: u64, tries: Tries) {
        while let Some(after) = self.reads_after(&channel, reading) {
            match self.broker.history(channel.clone(), Page::After(after), PAGE_MAX).await {
                Ok(page) => {
                    let is_end = page.len() < PAGE_MAX;
                    match self.step(&channel, reading, |tail, it| tail.page(page, is_end, it)) {
                        RecoveryStep::Page(_) => {}
                        RecoveryStep::Release => return self.release(channel, reading),
                        RecoveryStep::Done => return,
                        RecoveryStep::Later => {
                            return self
                                .again(RecoveryTask::CatchUp(channel, reading, 0), TELLING_PAUSE);
                        }
                    }
                }
                Err(why) => {
                    self.failed(&channel, reading, why);
                    return self.again(
                        RecoveryTask::CatchUp(channel, reading, tries + 1),
                        RETRY.pause_after(tries),
                    );
                }
            }
        }
    }

    /// Delivers the publications held meanwhile.
    pub fn release(self, channel: Channel, reading: u64) {
        loop {
            match self.step(&channel, reading, ChannelCursor::release) {
                RecoveryStep::Release => {}
                RecoveryStep::Done => return,
                RecoveryStep::Page(_) => {
                    return self.add(RecoveryTask::CatchUp(channel, reading, 0));
                }
                RecoveryStep::Later => {
                    return self.again(RecoveryTask::Release(channel, reading), TELLING_PAUSE);
                }
            }
        }
    }

    fn add(&self, work: RecoveryTask) {
        self.registry.recovery_queue.add(work);
    }

    /// Queues a task again after a pause, if its read is still current then.
    fn again(self, work: RecoveryTask, pause: Duration) {
        tokio::spawn(async move {
            sleep(pause).await;
            let wanted = match &work {
                RecoveryTask::Open(channel, reading, _)
                | RecoveryTask::CatchUp(channel, reading, _)
                | RecoveryTask::Release(channel, reading) => self.is_reading(channel, *reading),
                RecoveryTask::Load(_) => true,
            };
            if wanted {
                self.add(work);
            }
        });
    }

    fn is_reading(&self, channel: &Channel, reading: u64) -> bool {
        let channels = &self.registry.channels;
        channels.with_tail(channel, |tail, _| tail.is_reading(reading)).unwrap_or(false)
    }

    /// The position after which to read. None: this read is no longer current.
    fn reads_after(&self, channel: &Channel, reading: u64) -> Option<Position> {
        let channels = &self.registry.channels;
        let last = |tail: &mut ChannelCursor| tail.last().filter(|_| tail.is_reading(reading));
        channels.with_tail(channel, |tail, _| last(tail)).flatten()
    }

    fn failed(&self, channel: &Channel, reading: u64, why: Unavailable) {
        self.registry.channels.with_tail(channel, |tail, _| {
            if tail.is_reading(reading) {
                tail.fail(why);
            }
        });
    }

    /// Runs one step of a read and delivers its events.
    fn step(
        &self,
        channel: &Channel,
        reading: u64,
        step: impl FnOnce(&mut ChannelCursor, &mut Vec<ChannelEvent>) -> RecoveryStep,
    ) -> RecoveryStep {
        let received = Instant::now();
        let channels = &self.registry.channels;
        let mut items = Vec::new();
        let stepped = channels.with_tail(channel, |tail, subscribers| {
            if !tail.is_reading(reading) {
                return None;
            }
            if std::mem::replace(&mut tail.telling, true) {
                return Some((RecoveryStep::Later, None));
            }
            Some((step(tail, &mut items), Some(subscribers.snapshot())))
        });
        let Some((next, subscribers)) = stepped.flatten() else { return RecoveryStep::Done };
        let Some(subscribers) = subscribers else { return next };
        self.tell(channel, &subscribers, items, received);
        channels.with_tail(channel, |tail, _| tail.telling = false);
        next
    }

    fn tell(
        &self,
        channel: &Channel,
        subscribers: &Snapshot,
        items: Vec<ChannelEvent>,
        received: Instant,
    ) {
        let delivery = self.registry.channels.rules().of(channel.as_str()).delivery;
        let (name, fan_out) = (channel.as_str(), &self.registry.fan_out);
        let mut left = items.len();
        for item in items {
            left -= 1;
            match item {
                ChannelEvent::Gap(reason) => {
                    fan_out.push_to_all(subscribers, &Push::Gap { channel: name, reason });
                }
                ChannelEvent::Publication(publication) => {
                    let more = left > 0;
                    fan_out.hand_out(name, subscribers, delivery, &publication, more, received);
                }
            }
        }
    }
}
