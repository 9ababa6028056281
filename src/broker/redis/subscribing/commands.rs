//! What is asked of one master on its subscribed connection.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::connection_state::{ConnectionState, OWN_INTERVAL, PinnedChannel};
use super::probe::OwnChannel;
use crate::broker::redis::connection::feed::Asking;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::lanes::slot::Slot;
use crate::publication::Channel;

/// Commands to leave channels that are asked at a tick: who leaves can wait, others may not.
const LEAVES_PER_TICK_MAX: usize = 4;

/// Writes the commands.
#[derive(Clone, Copy)]
pub struct Commands<'a> {
    pub lane: &'a Lane,
    pub context: &'a RedisContext,
}

impl Commands<'_> {
    /// Asks for what is wanted and not yet asked for, as much as may be asked at once.
    pub fn subscribe(self, asking: &mut Asking, course: &mut ConnectionState) {
        let word = self.context.pubsub.subscribe();
        while let Some(batch) = self.lane.wanted.next_to_subscribe() {
            self.ask(asking, word, batch.together.iter());
            for channel in &batch.alone {
                self.ask(asking, word, [channel]);
            }
            // Redis answers in order: with this it has answered all of the batch.
            course.ping(asking, batch.number);
        }
    }

    /// Leaves what nobody wants.
    pub fn unsubscribe(self, asking: &mut Asking) {
        for _ in 0..LEAVES_PER_TICK_MAX {
            let channels = self.lane.wanted.next_to_unsubscribe();
            if channels.is_empty() {
                break;
            }
            self.ask(asking, self.context.pubsub.unsubscribe(), &channels);
        }
    }

    /// Keeps the probe where it is relayed, and what is always subscribed so.
    pub fn keep_all(self, asking: &mut Asking, course: &mut ConnectionState) {
        let OwnChannel { channel, confirmed } = course.own.borrow().clone();
        let waits = !confirmed && course.own_asked.elapsed() >= OWN_INTERVAL;
        let is_over = waits || !self.context.map.owns(self.lane, &channel);
        if is_over && self.context.map.has_slots(self.lane) {
            course.own_asked = Instant::now();
            course.own.send_replace(self.ask_own(asking));
        }
        course.kept.iter_mut().for_each(|kept| self.keep(asking, kept));
    }

    /// Asks for a channel that is always subscribed, where it is the lane's and not confirmed.
    pub fn keep(self, asking: &mut Asking, kept: &mut PinnedChannel) {
        let map = &self.context.map;
        let is_here =
            |channel| map.owns(self.lane, channel) || map.imports(self.lane, map.slot(channel));
        if !kept.confirmed && kept.is_due() && is_here(&kept.channel) {
            kept.asked = Some(Instant::now());
            self.ask(asking, self.context.pubsub.subscribe(), [&kept.channel]);
        }
    }

    /// Asks for a channel of the node's own, for the probe.
    pub fn ask_own(self, asking: &mut Asking) -> OwnChannel {
        let RedisContext { map, node, pubsub, .. } = self.context;
        if !map.has_slots(self.lane) {
            return OwnChannel { channel: Channel::of_probe(*node, 0), confirmed: false };
        }
        let channel = map.probe(self.lane, *node);
        self.ask(asking, pubsub.subscribe(), [&channel]);
        OwnChannel { channel, confirmed: false }
    }

    /// One command for all; on a cluster one for each slot.
    fn ask<'c>(
        self,
        asking: &mut Asking,
        word: &str,
        channels: impl IntoIterator<Item = &'c Channel>,
    ) {
        let map = &self.context.map;
        let mut by_slot: BTreeMap<Slot, Vec<String>> = BTreeMap::new();
        for channel in channels {
            by_slot.entry(map.slot(channel)).or_default().push(self.context.name(channel));
        }
        for (slot, names) in &by_slot {
            if map.imports(self.lane, *slot) {
                asking.ask("ASKING", &[]);
            }
            asking.ask(word, names);
        }
    }
}
