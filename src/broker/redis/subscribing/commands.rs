//! The commands on a master's subscribed connection.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::connection_state::{CONFIRM_TIMEOUT, ConnectionState, PinnedChannel};
use super::probe::ProbeChannel;
use crate::broker::redis::connection::feed::CommandWriter;
use crate::broker::redis::context::RedisContext;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::lanes::slot::Slot;
use crate::broker::redis::pattern_channels::{self, is_pattern};
use crate::publication::Channel;

/// Maximum number of `UNSUBSCRIBE` commands in one tick, because subscribing is more urgent.
const UNSUBSCRIBES_PER_TICK_MAX: usize = 4;

/// Whether a client may subscribe to the channel by its name.
fn is_direct(channel: &Channel) -> bool {
    !Channel::is_internal(channel.as_str())
}

/// Whether channels are to be subscribed or unsubscribed.
#[derive(Clone, Copy)]
enum Wanted {
    Yes,
    No,
}

/// Queues the commands of one lane's subscribed connection.
#[derive(Clone, Copy)]
pub struct Commands<'a> {
    pub lane: &'a Lane,
    pub context: &'a RedisContext,
}

impl Commands<'_> {
    /// Subscribes to the pending channels, as many as may be requested now.
    pub fn subscribe(self, writer: &mut CommandWriter, state: &mut ConnectionState) {
        while let Some(batch) = self.lane.subscriptions.next_to_subscribe() {
            if batch.combined.iter().chain(&batch.single).any(is_pattern) {
                state.routes.begin(|| self.lane.subscriptions.confirmed(is_direct));
            }
            self.send(writer, Wanted::Yes, batch.combined.iter());
            for channel in &batch.single {
                self.send(writer, Wanted::Yes, [channel]);
            }
            // Redis answers in order, so the reply to this `PING` follows those of the whole batch.
            state.ping(writer, batch.number);
        }
    }

    /// Unsubscribes from channels without subscribers.
    pub fn unsubscribe(self, writer: &mut CommandWriter) {
        for _ in 0..UNSUBSCRIBES_PER_TICK_MAX {
            let channels = self.lane.subscriptions.next_to_unsubscribe();
            if channels.is_empty() {
                break;
            }
            self.send(writer, Wanted::No, &channels);
        }
    }

    /// Keeps the probe channel on a slot of this lane, and the pinned channels subscribed.
    pub fn renew_pinned(self, writer: &mut CommandWriter, state: &mut ConnectionState) {
        let ProbeChannel { channel, confirmed } = state.probe.borrow().clone();
        let is_overdue = !confirmed && state.probe_requested_at.elapsed() >= CONFIRM_TIMEOUT;
        let must_request = is_overdue || !self.context.map.owns(self.lane, &channel);
        if must_request && self.context.map.has_slots(self.lane) {
            state.probe_requested_at = Instant::now();
            state.probe.send_replace(self.subscribe_probe(writer));
        }
        state.pinned.iter_mut().for_each(|pinned| self.subscribe_pinned(writer, pinned));
    }

    /// Subscribes to a pinned channel if this lane has it and it is not confirmed.
    pub fn subscribe_pinned(self, writer: &mut CommandWriter, pinned: &mut PinnedChannel) {
        let map = &self.context.map;
        let is_here =
            |channel| map.owns(self.lane, channel) || map.imports(self.lane, map.slot(channel));
        if !pinned.confirmed && pinned.is_due() && is_here(&pinned.channel) {
            pinned.requested_at = Some(Instant::now());
            self.send(writer, Wanted::Yes, [&pinned.channel]);
        }
    }

    /// Subscribes to a probe channel of this node.
    pub fn subscribe_probe(self, writer: &mut CommandWriter) -> ProbeChannel {
        let RedisContext { map, node, .. } = self.context;
        if !map.has_slots(self.lane) {
            return ProbeChannel { channel: Channel::of_probe(*node, 0), confirmed: false };
        }
        let channel = map.probe(self.lane, *node);
        self.send(writer, Wanted::Yes, [&channel]);
        ProbeChannel { channel, confirmed: false }
    }

    /// One command for all channels; on a cluster one for each slot. Another one for all patterns.
    fn send<'c>(
        self,
        writer: &mut CommandWriter,
        wanted: Wanted,
        channels: impl IntoIterator<Item = &'c Channel>,
    ) {
        let RedisContext { map, pubsub, .. } = self.context;
        let (command, of_patterns) = match wanted {
            Wanted::Yes => (pubsub.subscribe(), "PSUBSCRIBE"),
            Wanted::No => (pubsub.unsubscribe(), "PUNSUBSCRIBE"),
        };
        let mut globs = Vec::new();
        let mut by_slot: BTreeMap<Slot, Vec<String>> = BTreeMap::new();
        for channel in channels {
            if let Some(glob) = pattern_channels::glob_of(&self.context.prefix, channel) {
                globs.push(glob);
                continue;
            }
            by_slot.entry(map.slot(channel)).or_default().push(self.context.name(channel));
        }
        for (slot, names) in &by_slot {
            if map.imports(self.lane, *slot) {
                writer.command("ASKING", &[]);
            }
            writer.command(command, names);
        }
        if !globs.is_empty() {
            writer.command(of_patterns, &globs);
        }
    }
}
