//! Catches a channel up from history without a gap or a repetition. Each step locks the channel for a few
//! lines, lets its [`ChannelCursor`] decide, and delivers the resulting events to the subscribers of that
//! moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::broker::{Broker, HistoryEnd, PAGE_MAX, Page, Unavailable};
use crate::hub::channel_cursor::{ChannelCursor, RecoveryStep};
use crate::hub::channel_event::ChannelEvent;
use crate::hub::recovery_queue::{Attempts, RecoveryTask};
use crate::hub::registry::Registry;
use crate::hub::rollup::RollupStep;
use crate::hub::shard::LockedChannel;
use crate::hub::subscribers::Snapshot;
use crate::protocol::Push;
use crate::publication::{Channel, Position};

/// The pauses between attempts of a failed read, for as long as it is current.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// The pause after which a step checks again whether the previous step's events were delivered.
const DELIVERY_PAUSE: Duration = Duration::from_millis(5);

/// The pause before the end of a history that has just begun is asked for again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How the events of a step are delivered.
enum Delivered {
    /// They are with the channel's other publications, which are delivered joined.
    Joined(Vec<RollupStep>),
    /// To these subscribers, in this task.
    ToEach(Snapshot),
}

/// Reads what channels have missed. Cheap to clone.
#[derive(Clone)]
pub struct CatchUp {
    pub registry: Arc<Registry>,
    pub broker: Arc<dyn Broker>,
}

/// Passes the history's end to the cursor, and the end of a run that it is.
fn receive_end(
    cursor: &mut ChannelCursor,
    end: Option<HistoryEnd>,
    events: &mut Vec<ChannelEvent>,
) -> RecoveryStep {
    let position = end.as_ref().map(|end| end.position);
    if let Some(HistoryEnd { position, ended: Some(reason) }) = end {
        cursor.positions.record_end(position, reason);
    }
    cursor.receive_end(position, events)
}

impl CatchUp {
    /// Requests the ends of the histories, and catches up where something was missed.
    pub async fn open(self, channels: Vec<(Channel, u64, Attempts)>) {
        let names = channels.iter().map(|(channel, ..)| channel.clone()).collect();
        let ends = self.broker.positions(names).await;
        for ((channel, read_number, tries), end) in channels.into_iter().zip(ends) {
            match end {
                Ok(end) => match self
                    .step(&channel, read_number, |cursor, it| receive_end(cursor, end, it))
                {
                    RecoveryStep::Done => {}
                    RecoveryStep::Release => self.clone().release(channel, read_number),
                    RecoveryStep::Page(_) => {
                        self.add(RecoveryTask::CatchUp(channel, read_number, 0));
                    }
                    RecoveryStep::AskAgain => {
                        let again = RecoveryTask::Open(channel, read_number, 0);
                        self.clone().retry_later(again, FIRST_PAUSE);
                    }
                    RecoveryStep::Later => {
                        self.clone().retry_later(
                            RecoveryTask::Open(channel, read_number, tries),
                            DELIVERY_PAUSE,
                        );
                    }
                },
                Err(why) => {
                    self.fail_waiters(&channel, read_number, why);
                    self.clone().retry_later(
                        RecoveryTask::Open(channel, read_number, tries + 1),
                        RETRY.pause_after(tries),
                    );
                }
            }
        }
    }

    /// Reads page after page of what was missed. After a failure the channel is queued again, behind others.
    pub async fn catch_up(self, channel: Channel, read_number: u64, tries: Attempts) {
        while let Some(after) = self.read_position(&channel, read_number) {
            match self.broker.history(channel.clone(), Page::After(after), PAGE_MAX).await {
                Ok(page) => {
                    let is_end = page.len() < PAGE_MAX;
                    match self.step(&channel, read_number, |cursor, it| {
                        cursor.receive_page(page, is_end, it)
                    }) {
                        RecoveryStep::Page(_) => {}
                        RecoveryStep::Release => return self.release(channel, read_number),
                        RecoveryStep::Done => return,
                        // `AskAgain` is no outcome of a page.
                        RecoveryStep::Later | RecoveryStep::AskAgain => {
                            return self.retry_later(
                                RecoveryTask::CatchUp(channel, read_number, 0),
                                DELIVERY_PAUSE,
                            );
                        }
                    }
                }
                Err(why) => {
                    self.fail_waiters(&channel, read_number, why);
                    return self.retry_later(
                        RecoveryTask::CatchUp(channel, read_number, tries + 1),
                        RETRY.pause_after(tries),
                    );
                }
            }
        }
    }

    /// Delivers the publications held meanwhile.
    pub fn release(self, channel: Channel, read_number: u64) {
        loop {
            match self.step(&channel, read_number, ChannelCursor::release) {
                RecoveryStep::Release => {}
                RecoveryStep::Done => return,
                RecoveryStep::Page(_) => {
                    return self.add(RecoveryTask::CatchUp(channel, read_number, 0));
                }
                RecoveryStep::Later | RecoveryStep::AskAgain => {
                    return self
                        .retry_later(RecoveryTask::Release(channel, read_number), DELIVERY_PAUSE);
                }
            }
        }
    }

    fn add(&self, work: RecoveryTask) {
        self.registry.recovery_queue.add(work);
    }

    /// Queues a task again after a pause, if its read is still current then.
    fn retry_later(self, work: RecoveryTask, pause: Duration) {
        tokio::spawn(async move {
            sleep(pause).await;
            let is_current = match &work {
                RecoveryTask::Open(channel, read_number, _)
                | RecoveryTask::CatchUp(channel, read_number, _)
                | RecoveryTask::Release(channel, read_number) => {
                    self.is_current_read(channel, *read_number)
                }
                RecoveryTask::Load(_) => true,
            };
            if is_current {
                self.add(work);
            }
        });
    }

    fn is_current_read(&self, channel: &Channel, read_number: u64) -> bool {
        let channels = &self.registry.channels;
        channels
            .with_cursor(channel, |cursor, _| cursor.is_current_read(read_number))
            .unwrap_or(false)
    }

    /// The position after which to read. None: this read is no longer current.
    fn read_position(&self, channel: &Channel, read_number: u64) -> Option<Position> {
        let channels = &self.registry.channels;
        let last = |cursor: &mut ChannelCursor| {
            cursor.last().filter(|_| cursor.is_current_read(read_number))
        };
        channels.with_cursor(channel, |cursor, _| last(cursor)).flatten()
    }

    fn fail_waiters(&self, channel: &Channel, read_number: u64, why: Unavailable) {
        self.registry.channels.with_cursor(channel, |cursor, _| {
            if cursor.is_current_read(read_number) {
                cursor.fail_waiters(why);
            }
        });
    }

    /// Runs one step of a read and delivers its events.
    fn step(
        &self,
        channel: &Channel,
        read_number: u64,
        step: impl FnOnce(&mut ChannelCursor, &mut Vec<ChannelEvent>) -> RecoveryStep,
    ) -> RecoveryStep {
        let received = Instant::now();
        let channels = &self.registry.channels;
        let mut events = Vec::new();
        let stepped = channels.with_channel(channel, |locked| {
            let LockedChannel { cursor, subscribers, rollup, .. } = locked;
            let cursor = cursor.filter(|cursor| cursor.is_current_read(read_number))?;
            if let Some(rollup) = rollup {
                let next = step(cursor, &mut events);
                // Here under the lock, so that a later subscriber does not get them twice.
                let add = |event| rollup.add(event, subscribers, received);
                return Some((next, Delivered::Joined(events.drain(..).map(add).collect())));
            }
            if std::mem::replace(&mut cursor.is_delivering, true) {
                return Some((RecoveryStep::Later, Delivered::Joined(Vec::new())));
            }
            Some((step(cursor, &mut events), Delivered::ToEach(subscribers.snapshot())))
        });
        let Some((next, delivered)) = stepped.flatten() else { return RecoveryStep::Done };
        match delivered {
            Delivered::Joined(steps) => {
                for step in steps {
                    self.registry.rollups().take_step(channel.as_str(), step);
                }
            }
            Delivered::ToEach(subscribers) => {
                self.deliver(channel, &subscribers, events, received);
                channels.with_cursor(channel, |cursor, _| cursor.is_delivering = false);
            }
        }
        next
    }

    fn deliver(
        &self,
        channel: &Channel,
        subscribers: &Snapshot,
        events: Vec<ChannelEvent>,
        received: Instant,
    ) {
        let slow = self.registry.channels.rules().of(channel.as_str()).delivery.into();
        let (name, fan_out) = (channel.as_str(), &self.registry.fan_out);
        let mut left = events.len();
        for event in events {
            left -= 1;
            match event {
                ChannelEvent::Gap(reason) => {
                    fan_out.push_to_all(subscribers, &Push::Gap { channel: name, reason });
                }
                ChannelEvent::Publication(publication) => {
                    let more = left > 0;
                    fan_out.deliver(name, subscribers, slow, &publication, more, received);
                }
            }
        }
    }
}
