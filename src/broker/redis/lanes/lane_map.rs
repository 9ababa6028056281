//! Which master has a channel: the way to it for publications, subscriptions and questions.
//!
//! Behind one lock, held for a few lines: whoever hands something in does so while the map stands
//! still, so that what moves to another master is followed by what is newer, and never overtaken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::broker::queue::Intake;
use crate::broker::receipt::Receipt;
use crate::broker::redis::connection::server::ServerAddress;
use crate::broker::redis::lanes::lane::Lane;
use crate::broker::redis::lanes::slot::{self, SLOTS, Slot};
use crate::broker::redis::lanes::slot_owners::SlotOwners;
use crate::broker::redis::lanes::slot_queues::SlotQueues;
use crate::broker::redis::publishing::master_queue::QueuedPublication;
use crate::broker::redis::pubsub::PubSub;
use crate::broker::redis::subscribing::subscription_counts::SubscriptionCounts;
use crate::broker::redis::topology::layout::Layout;
use crate::broker::unavailable::Unavailable;
use crate::publication::{Channel, NodeId, Position, Publication};

const OVERTAKEN: Unavailable =
    Unavailable("redis moved the channel while a later publication went out");

/// Names that are tried until one lies in a slot of the master: enough for a single slot.
const PROBES_MAX: u32 = 1 << 20;

/// The masters, and which channels are theirs.
pub struct LaneMap {
    routes: RwLock<Routes>,
    /// Where publications and channels wait that no master owns.
    pub nowhere: Arc<SlotQueues>,
    /// The lanes note in it what they take.
    pub takers: Arc<SlotOwners>,
    prefix: Arc<str>,
    pubsub: PubSub,
    has_moves: AtomicBool,
}

struct Routes {
    lanes: Vec<Arc<Lane>>,
    owners: Vec<Option<u16>>,
    /// As in [`Layout::moving`].
    moving: BTreeMap<Slot, u16>,
}

/// Some channels of a list, each with its place there.
pub type LaneChannels<'a> = Vec<(usize, &'a Channel)>;

/// What [`LaneMap::apply`] changed.
#[derive(Default)]
pub struct LaneChanges {
    pub new: Vec<Arc<Lane>>,
    pub retired: Vec<Arc<Lane>>,
}

impl LaneMap {
    /// A map that knows no master yet.
    pub fn new(
        pubsub: PubSub,
        prefix: Arc<str>,
        timeout: Duration,
        tally: Arc<SubscriptionCounts>,
    ) -> Self {
        let slots = if pubsub.is_sharded() { SLOTS } else { 1 };
        let routes =
            Routes { lanes: Vec::new(), owners: vec![None; slots], moving: BTreeMap::new() };
        let nowhere = SlotQueues::new(timeout, tally);
        Self {
            routes: RwLock::new(routes),
            nowhere: Arc::new(nowhere),
            takers: Arc::new(SlotOwners::new(slots)),
            prefix,
            pubsub,
            has_moves: AtomicBool::new(false),
        }
    }

    /// Is any slot on its way to another master?
    pub fn has_moves(&self) -> bool {
        self.has_moves.load(Ordering::Relaxed)
    }

    pub fn slot(&self, channel: &Channel) -> Slot {
        match self.pubsub.is_sharded() {
            true => slot::of(&[self.prefix.as_bytes(), channel.as_str().as_bytes()].concat()),
            false => 0,
        }
    }

    /// Puts a publication in line at the channel's master.
    pub fn publish(
        &self,
        intake: &Intake,
        channel: Channel,
        publication: Publication,
    ) -> Receipt<Option<Position>> {
        let slot = self.slot(&channel);
        let put = intake.admit(channel, publication).and_then(|(item, receipt)| {
            let routes = self.read();
            self.place(&routes, slot)
                .line
                .push(QueuedPublication::new(slot, item))
                .map(|()| receipt)
        });
        put.unwrap_or_else(|why| Receipt::now(Err(why)))
    }

    /// While the slot moves, it is wanted of both masters: what a function appends at the new one, it
    /// publishes there, and what has no key is published at the old one.
    pub fn subscribe(&self, channel: &Channel) -> Receipt<()> {
        let slot = self.slot(channel);
        let routes = self.read();
        if let Some(importing) = routes.importing(slot) {
            drop(importing.wanted.subscribe(channel));
        }
        self.place(&routes, slot).wanted.subscribe(channel)
    }

    pub fn unsubscribe(&self, channel: &Channel) {
        let slot = self.slot(channel);
        let routes = self.read();
        if let Some(importing) = routes.importing(slot) {
            importing.wanted.unsubscribe(channel);
        }
        self.place(&routes, slot).wanted.unsubscribe(channel);
    }

    /// Puts publications that the lane of this number took and Redis did not do in line again, before all newer ones
    /// of their channels. Where a newer one has gone out elsewhere meanwhile, it is too late.
    pub fn put_back(&self, lane: u32, items: Vec<QueuedPublication>) {
        let routes = self.read();
        let mut by_owner: HashMap<Option<u16>, Vec<QueuedPublication>> = HashMap::new();
        for queued in items {
            by_owner.entry(routes.owners[usize::from(queued.slot)]).or_default().push(queued);
        }
        for (owner, items) in by_owner {
            let line = &self.place_of(&routes, owner).line;
            // Asked under the line's lock, which whoever takes holds too.
            let overtaken = line.put_back(items, |queued| self.takers.is_last(queued.slot, lane));
            overtaken.into_iter().for_each(|queued| queued.item.answer(Err(OVERTAKEN)));
        }
    }

    /// The lane of this channel. None: no master owns it now.
    pub fn lane(&self, channel: &Channel) -> Option<Arc<Lane>> {
        let slot = self.slot(channel);
        let routes = self.read();
        routes.owners[usize::from(slot)].map(|owner| routes.lanes[usize::from(owner)].clone())
    }

    /// All masters as they are now.
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        self.read().lanes.clone()
    }

    /// The channels of each lane, each with its place in the list. Without a lane: those that no
    /// master owns now.
    pub fn by_lane<'a>(
        &self,
        channels: &'a [Channel],
    ) -> Vec<(Option<Arc<Lane>>, LaneChannels<'a>)> {
        let routes = self.read();
        let mut by_owner: HashMap<Option<u16>, Vec<(usize, &Channel)>> = HashMap::new();
        for (at, channel) in channels.iter().enumerate() {
            let owner = routes.owners[usize::from(self.slot(channel))];
            by_owner.entry(owner).or_default().push((at, channel));
        }
        let lane = |owner: Option<u16>| owner.map(|owner| routes.lanes[usize::from(owner)].clone());
        by_owner.into_iter().map(|(owner, channels)| (lane(owner), channels)).collect()
    }

    /// Is the channel this lane's?
    pub fn owns(&self, lane: &Lane, channel: &Channel) -> bool {
        let slot = self.slot(channel);
        let routes = self.read();
        routes.is_owner(lane, slot)
    }

    /// Has this lane's master any slot? One may be given its first.
    pub fn has_slots(&self, lane: &Lane) -> bool {
        let routes = self.read();
        let number = |owner: u16| routes.lanes[usize::from(owner)].number;
        routes.owners.iter().flatten().any(|owner| number(*owner) == lane.number)
    }

    /// Is the slot this lane's?
    pub fn owns_slot(&self, lane: u32, slot: Slot) -> bool {
        let routes = self.read();
        let owner = routes.owners[usize::from(slot)];
        owner.is_some_and(|owner| routes.lanes[usize::from(owner)].number == lane)
    }

    /// Is the channel's slot on its way to this lane's master?
    pub fn imports(&self, lane: &Lane, slot: Slot) -> bool {
        self.read().importing(slot).is_some_and(|importing| importing.number == lane.number)
    }

    /// The lane that the slot is on its way to.
    pub fn importing(&self, slot: Slot) -> Option<Arc<Lane>> {
        self.read().importing(slot).cloned()
    }

    /// The lane of the master at this address.
    pub fn lane_at(&self, address: &ServerAddress) -> Option<Arc<Lane>> {
        self.read().lanes.iter().find(|lane| lane.address == *address).cloned()
    }

    /// A channel of the node's own that is this lane's, which must have slots.
    pub fn probe(&self, lane: &Lane, node: NodeId) -> Channel {
        let mut probes = (0..PROBES_MAX).map(|number| Channel::of_probe(node, number));
        // A lane without slots is about to be retired.
        probes
            .find(|channel| self.owns(lane, channel))
            .unwrap_or_else(|| Channel::of_probe(node, 0))
    }

    /// Follows what Redis says. Channels and publications of slots that have another master go
    /// along, and masters without slots are given up.
    pub fn apply(
        &self,
        layout: &Layout,
        make: impl Fn(&ServerAddress) -> Arc<Lane>,
    ) -> LaneChanges {
        let mut routes = self.routes.write().expect("no code panics while it holds the map");
        let mut applied = LaneChanges::default();
        let mut lanes = Vec::with_capacity(layout.masters.len());
        for address in &layout.masters {
            let there = routes.lanes.iter().find(|lane| lane.address == *address);
            lanes.push(there.cloned().unwrap_or_else(|| {
                let lane = make(address);
                applied.new.push(lane.clone());
                lane
            }));
        }
        let moving = layout.moving.clone();
        let next = Routes { lanes, owners: layout.owners.clone(), moving };
        for (index, lane) in routes.lanes.iter().enumerate() {
            self.move_out(&routes, &next, Some(index as u16), lane);
            if !next.lanes.iter().any(|it| it.number == lane.number) {
                applied.retired.push(lane.clone());
            }
        }
        self.move_out(&routes, &next, None, &self.nowhere);
        // Before anything can be heard of a second master.
        self.has_moves.store(!next.moving.is_empty(), Ordering::Relaxed);
        self.accompany(&routes, &next);
        *routes = next;
        applied
    }

    /// Moves what waits at `place` for slots that have become another's.
    fn move_out(&self, routes: &Routes, next: &Routes, owner: Option<u16>, place: &SlotQueues) {
        let number = |routes: &Routes, owner: Option<u16>| {
            owner.map(|owner| routes.lanes[usize::from(owner)].number)
        };
        let from = number(routes, owner);
        let moves = |slot: Slot| {
            let slot = usize::from(slot);
            routes.owners[slot] == owner && number(next, next.owners[slot]) != from
        };
        if !(0..routes.owners.len()).any(|slot| moves(slot as Slot)) {
            return;
        }
        let mut items: HashMap<Option<u16>, Vec<QueuedPublication>> = HashMap::new();
        for queued in place.line.leave(moves) {
            items.entry(next.owners[usize::from(queued.slot)]).or_default().push(queued);
        }
        let mut channels: HashMap<Option<u16>, Vec<_>> = HashMap::new();
        for (channel, entry) in place.wanted.leave(|channel| moves(self.slot(channel))) {
            let owner = next.owners[usize::from(self.slot(&channel))];
            channels.entry(owner).or_default().push((channel, entry));
        }
        for (owner, items) in items {
            self.place_of(next, owner).line.join(items);
        }
        for (owner, channels) in channels {
            self.place_of(next, owner).wanted.join(channels);
        }
    }

    /// Wants what is wanted of slots that have begun to move of the master they move to as well, and no
    /// longer where they have ceased to. What was published there before may have been missed.
    fn accompany(&self, routes: &Routes, next: &Routes) {
        let number = |routes: &Routes, slot| routes.importing(slot).map(|lane| lane.number);
        for slot in routes.moving.keys().chain(next.moving.keys()).copied().collect::<BTreeSet<_>>()
        {
            if number(routes, slot) == number(next, slot) {
                continue;
            }
            let channels = self.place(next, slot).wanted.channels(|it| self.slot(it) == slot);
            // Who has become the owner has taken them over.
            let owner = next.owners[usize::from(slot)].map(|it| next.lanes[usize::from(it)].number);
            let before = routes.importing(slot).filter(|lane| Some(lane.number) != owner);
            if let Some(lane) = before {
                channels.iter().for_each(|channel| lane.wanted.unsubscribe(channel));
            }
            if let Some(lane) = next.importing(slot) {
                lane.wanted.accompany(channels);
            }
        }
    }

    fn place<'a>(&'a self, routes: &'a Routes, slot: Slot) -> &'a SlotQueues {
        self.place_of(routes, routes.owners[usize::from(slot)])
    }

    fn place_of<'a>(&'a self, routes: &'a Routes, owner: Option<u16>) -> &'a SlotQueues {
        match owner {
            Some(owner) => &routes.lanes[usize::from(owner)].place,
            None => &self.nowhere,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Routes> {
        self.routes.read().expect("no code panics while it holds the map")
    }
}

impl Routes {
    fn importing(&self, slot: Slot) -> Option<&Arc<Lane>> {
        self.moving.get(&slot).map(|lane| &self.lanes[usize::from(*lane)])
    }

    fn is_owner(&self, lane: &Lane, slot: Slot) -> bool {
        let owner = self.owners[usize::from(slot)];
        owner.is_some_and(|owner| self.lanes[usize::from(owner)].number == lane.number)
    }
}

#[cfg(test)]
mod tests;
