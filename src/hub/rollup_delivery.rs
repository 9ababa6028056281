//! Delivers what a channel has joined, in the task that adds to it or when its time has come.

use std::time::Instant;

use super::channels::Channels;
use super::fan_out::FanOut;
use super::rollup::{RollupItem, RollupStep};
use super::rollup_timers::RollupTimers;
use crate::protocol::Push;
use crate::publication::Channel;

/// What a delivery needs of the registry.
#[derive(Clone, Copy)]
pub struct RollupDelivery<'a> {
    pub channels: &'a Channels,
    pub fan_out: &'a FanOut,
    pub timers: &'a RollupTimers,
}

impl RollupDelivery<'_> {
    /// Delivers what a channel has joined, or remembers when to.
    pub fn take_step(self, channel: &str, mut step: RollupStep) {
        loop {
            match step {
                RollupStep::Nothing => return,
                RollupStep::Arm(at) => {
                    if let Ok(channel) = Channel::new(channel) {
                        self.timers.add(at, channel);
                    }
                    return;
                }
                RollupStep::Deliver => {}
            }
            let now = Instant::now();
            let taken = {
                let mut shard = self.channels.shard(channel);
                let locked = shard.lock_channel(channel);
                let Some(rollup) = locked.and_then(|locked| locked.rollup) else { return };
                rollup.take(now)
            };
            match taken {
                Err(next) => step = next,
                Ok((RollupItem::Gap(reason), subscribers, _)) => {
                    self.fan_out.push_to_all(&subscribers, &Push::Gap { channel, reason });
                }
                Ok((RollupItem::Piece(piece), subscribers, more)) => {
                    let slow = (&*piece).into();
                    let publication = &piece.publication;
                    self.fan_out.deliver(channel, &subscribers, slow, publication, more, now);
                }
            }
        }
    }

    /// The time has come to deliver what a channel has joined.
    pub fn deliver_due(self, channel: &Channel) {
        let step = {
            let mut shard = self.channels.shard(channel.as_str());
            let Some(locked) = shard.lock_channel(channel.as_str()) else { return };
            let Some(rollup) = locked.rollup else { return };
            rollup.due(locked.subscribers)
        };
        self.take_step(channel.as_str(), step);
    }
}
