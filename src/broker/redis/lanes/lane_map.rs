//! The map from channels to masters, for publications, subscriptions and commands.
//!
//! It is behind one lock, held for a few lines. Publications and subscriptions are queued under the
//! read lock, so that newer ones never overtake those that move to another master.

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
    Unavailable("redis moved the channel while a later publication was published");

/// Maximum number of names that are tried until one hashes to a slot of the master: enough for a
/// master with a single slot.
const PROBES_MAX: u32 = 1 << 20;

/// The masters, and the slots that each owns.
pub struct LaneMap {
    routes: RwLock<Routes>,
    /// Queues for slots without a master.
    pub unowned: Arc<SlotQueues>,
    /// The lanes record here from which slots they take.
    pub slot_owners: Arc<SlotOwners>,
    prefix: Arc<str>,
    pubsub: PubSub,
    has_moving_slots: AtomicBool,
}

struct Routes {
    lanes: Vec<Arc<Lane>>,
    owners: Vec<Option<u16>>,
    /// As [`Layout::moving`].
    moving: BTreeMap<Slot, u16>,
}

/// Some channels of a list, each with its index there.
pub type LaneChannels<'a> = Vec<(usize, &'a Channel)>;

/// The changes that [`LaneMap::apply`] made.
#[derive(Default)]
pub struct LaneChanges {
    pub new: Vec<Arc<Lane>>,
    pub retired: Vec<Arc<Lane>>,
}

impl LaneMap {
    /// A map without masters.
    pub fn new(
        pubsub: PubSub,
        prefix: Arc<str>,
        timeout: Duration,
        counts: Arc<SubscriptionCounts>,
    ) -> Self {
        let slots = if pubsub.is_sharded() { SLOTS } else { 1 };
        let routes =
            Routes { lanes: Vec::new(), owners: vec![None; slots], moving: BTreeMap::new() };
        let unowned = SlotQueues::new(timeout, counts);
        Self {
            routes: RwLock::new(routes),
            unowned: Arc::new(unowned),
            slot_owners: Arc::new(SlotOwners::new(slots)),
            prefix,
            pubsub,
            has_moving_slots: AtomicBool::new(false),
        }
    }

    /// Whether any slot moves to another master.
    pub fn has_moving_slots(&self) -> bool {
        self.has_moving_slots.load(Ordering::Relaxed)
    }

    pub fn slot(&self, channel: &Channel) -> Slot {
        match self.pubsub.is_sharded() {
            true => slot::of(&[self.prefix.as_bytes(), channel.as_str().as_bytes()].concat()),
            false => 0,
        }
    }

    /// Queues a publication for the channel's master.
    pub fn publish(
        &self,
        intake: &Intake,
        channel: Channel,
        publication: Publication,
    ) -> Receipt<Option<Position>> {
        let slot = self.slot(&channel);
        let queued_receipt = intake.admit(channel, publication).and_then(|(request, receipt)| {
            let routes = self.read();
            self.queues(&routes, slot)
                .publications
                .push(QueuedPublication::new(slot, request))
                .map(|()| receipt)
        });
        queued_receipt.unwrap_or_else(|why| Receipt::ready(Err(why)))
    }

    /// While the slot moves, the node subscribes at both masters: a function appends and publishes
    /// at the new one, and a plain `PUBLISH`, which has no key, stays at the old one.
    pub fn subscribe(&self, channel: &Channel) -> Receipt<()> {
        let slot = self.slot(channel);
        let routes = self.read();
        if let Some(importing) = routes.importing(slot) {
            drop(importing.subscriptions.subscribe(channel));
        }
        self.queues(&routes, slot).subscriptions.subscribe(channel)
    }

    pub fn unsubscribe(&self, channel: &Channel) {
        let slot = self.slot(channel);
        let routes = self.read();
        if let Some(importing) = routes.importing(slot) {
            importing.subscriptions.unsubscribe(channel);
        }
        self.queues(&routes, slot).subscriptions.unsubscribe(channel);
    }

    /// Queues publications again that this lane took and Redis did not publish, before all newer
    /// ones of their channels. A publication fails if another lane has taken newer ones of its slot
    /// meanwhile.
    pub fn requeue(&self, lane: u32, publications: Vec<QueuedPublication>) {
        let routes = self.read();
        let mut by_owner: HashMap<Option<u16>, Vec<QueuedPublication>> = HashMap::new();
        for queued in publications {
            by_owner.entry(routes.owners[usize::from(queued.slot)]).or_default().push(queued);
        }
        for (owner, publications) in by_owner {
            let queue = &self.queues_of(&routes, owner).publications;
            // Checked under the queue's lock, which `take` holds too.
            let overtaken =
                queue.requeue(publications, |queued| self.slot_owners.is_last(queued.slot, lane));
            overtaken.into_iter().for_each(|queued| queued.request.reply(Err(OVERTAKEN)));
        }
    }

    /// The lane of this channel. `None`: no master owns it now.
    pub fn lane(&self, channel: &Channel) -> Option<Arc<Lane>> {
        let slot = self.slot(channel);
        let routes = self.read();
        routes.owners[usize::from(slot)].map(|owner| routes.lanes[usize::from(owner)].clone())
    }

    /// The lanes of all current masters.
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        self.read().lanes.clone()
    }

    /// The channels of each lane, each with its index in the list. `None`: channels without a
    /// master.
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

    /// Whether the lane owns the channel.
    pub fn owns(&self, lane: &Lane, channel: &Channel) -> bool {
        let slot = self.slot(channel);
        let routes = self.read();
        routes.is_owner(lane, slot)
    }

    /// Whether the lane's master owns any slot. A new master may be importing its first one.
    pub fn has_slots(&self, lane: &Lane) -> bool {
        let routes = self.read();
        let number = |owner: u16| routes.lanes[usize::from(owner)].number;
        routes.owners.iter().flatten().any(|owner| number(*owner) == lane.number)
    }

    /// Whether the lane owns the slot.
    pub fn owns_slot(&self, lane: u32, slot: Slot) -> bool {
        let routes = self.read();
        let owner = routes.owners[usize::from(slot)];
        owner.is_some_and(|owner| routes.lanes[usize::from(owner)].number == lane)
    }

    /// Whether the slot moves to this lane's master.
    pub fn imports(&self, lane: &Lane, slot: Slot) -> bool {
        self.read().importing(slot).is_some_and(|importing| importing.number == lane.number)
    }

    /// The lane that the slot moves to.
    pub fn importing(&self, slot: Slot) -> Option<Arc<Lane>> {
        self.read().importing(slot).cloned()
    }

    /// The lane of the master at this address.
    pub fn lane_at(&self, address: &ServerAddress) -> Option<Arc<Lane>> {
        self.read().lanes.iter().find(|lane| lane.address == *address).cloned()
    }

    /// A probe channel of this node that the lane owns. The lane must have slots.
    pub fn probe(&self, lane: &Lane, node: NodeId) -> Channel {
        let mut probes = (0..PROBES_MAX).map(|number| Channel::of_probe(node, number));
        // A lane without slots is about to be retired.
        probes
            .find(|channel| self.owns(lane, channel))
            .unwrap_or_else(|| Channel::of_probe(node, 0))
    }

    /// Applies a layout. Queued publications and subscriptions of slots with a new master move to
    /// it, and masters without slots are retired.
    pub fn apply(
        &self,
        layout: &Layout,
        create: impl Fn(&ServerAddress) -> Arc<Lane>,
    ) -> LaneChanges {
        let mut routes = self.routes.write().expect("no code panics while it holds the map");
        let mut applied = LaneChanges::default();
        let mut lanes = Vec::with_capacity(layout.masters.len());
        for address in &layout.masters {
            let existing = routes.lanes.iter().find(|lane| lane.address == *address);
            lanes.push(existing.cloned().unwrap_or_else(|| {
                let lane = create(address);
                applied.new.push(lane.clone());
                lane
            }));
        }
        let moving = layout.moving.clone();
        let next = Routes { lanes, owners: layout.owners.clone(), moving };
        for (index, lane) in routes.lanes.iter().enumerate() {
            self.move_queued(&routes, &next, Some(index as u16), lane);
            if !next.lanes.iter().any(|it| it.number == lane.number) {
                applied.retired.push(lane.clone());
            }
        }
        self.move_queued(&routes, &next, None, &self.unowned);
        // Before the second master can deliver anything.
        self.has_moving_slots.store(!next.moving.is_empty(), Ordering::Relaxed);
        self.follow_imports(&routes, &next);
        *routes = next;
        applied
    }

    /// Moves what is queued for slots that have a new owner.
    fn move_queued(&self, routes: &Routes, next: &Routes, owner: Option<u16>, queues: &SlotQueues) {
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
        let mut publications: HashMap<Option<u16>, Vec<QueuedPublication>> = HashMap::new();
        for queued in queues.publications.remove(moves) {
            publications.entry(next.owners[usize::from(queued.slot)]).or_default().push(queued);
        }
        let mut channels: HashMap<Option<u16>, Vec<_>> = HashMap::new();
        for (channel, entry) in queues.subscriptions.remove(|channel| moves(self.slot(channel))) {
            let owner = next.owners[usize::from(self.slot(&channel))];
            channels.entry(owner).or_default().push((channel, entry));
        }
        for (owner, publications) in publications {
            self.queues_of(next, owner).publications.merge(publications);
        }
        for (owner, channels) in channels {
            self.queues_of(next, owner).subscriptions.merge(channels);
        }
    }

    /// Subscribes at the new master to the channels of slots that have begun to move, and
    /// unsubscribes there where a move has ended. Publications from before at the new master may
    /// have been missed.
    fn follow_imports(&self, routes: &Routes, next: &Routes) {
        let number = |routes: &Routes, slot| routes.importing(slot).map(|lane| lane.number);
        for slot in routes.moving.keys().chain(next.moving.keys()).copied().collect::<BTreeSet<_>>()
        {
            if number(routes, slot) == number(next, slot) {
                continue;
            }
            let channels =
                self.queues(next, slot).subscriptions.channels(|it| self.slot(it) == slot);
            // A lane that has become the owner has taken the channels over.
            let owner = next.owners[usize::from(slot)].map(|it| next.lanes[usize::from(it)].number);
            let before = routes.importing(slot).filter(|lane| Some(lane.number) != owner);
            if let Some(lane) = before {
                channels.iter().for_each(|channel| lane.subscriptions.unsubscribe(channel));
            }
            if let Some(lane) = next.importing(slot) {
                lane.subscriptions.add_interrupted(channels);
            }
        }
    }

    fn queues<'a>(&'a self, routes: &'a Routes, slot: Slot) -> &'a SlotQueues {
        self.queues_of(routes, routes.owners[usize::from(slot)])
    }

    fn queues_of<'a>(&'a self, routes: &'a Routes, owner: Option<u16>) -> &'a SlotQueues {
        match owner {
            Some(owner) => &routes.lanes[usize::from(owner)].queues,
            None => &self.unowned,
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
