//! Which parts of the broker work now, for readiness, the log and `tidegate_broker_up`.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::redis::connection::server::ServerAddress;
use crate::telemetry;

/// How long a fault of a moving slot makes the node unready.
const MOVES_FAULT_TTL: Duration = Duration::from_secs(30);

/// The state of all components: the topology, and three components for each master.
#[derive(Debug, Default)]
pub struct BrokerState(Mutex<ComponentStates>);

/// The state of one master's components.
#[derive(Clone, Debug)]
pub struct LaneState {
    state: Arc<BrokerState>,
    lane: u32,
}

#[derive(Debug, Default)]
struct ComponentStates {
    masters: ComponentState,
    lanes: Vec<LaneComponentStates>,
    /// Why channels of moving slots cannot be used, and when that was seen. `None`: they can, or no
    /// slot moves.
    moves: Option<(String, Instant)>,
    /// The result of the first attempt has been reported.
    is_reported: bool,
    /// All components have worked at the same time.
    has_worked: bool,
    /// When the rules that a starting node installed or found take effect in Redis.
    rules_apply_at: Option<Instant>,
}

#[derive(Debug)]
struct LaneComponentStates {
    lane: u32,
    address: ServerAddress,
    components: [ComponentState; 3],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ComponentState {
    /// No attempt so far.
    #[default]
    Untried,
    Works,
    /// With the last attempt's error.
    Fails(String),
}

/// A component of a master, whose state its own task reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneComponent {
    /// The publishing connection.
    Publisher,
    /// The subscribed connection: it works once all wanted channels have been requested.
    Subscriber,
    /// The node's own publications come back.
    Probe,
}

impl LaneComponent {
    const EACH: [Self; 3] = [Self::Publisher, Self::Subscriber, Self::Probe];

    fn fault(self) -> &'static str {
        match self {
            Self::Publisher => "cannot be published to",
            Self::Subscriber => "cannot be subscribed to",
            Self::Probe => "does not relay what this node publishes",
        }
    }
}

impl ComponentState {
    /// `fault`, with its cause where that is known. `None`: the component works.
    fn fault(&self, fault: impl Display) -> Option<String> {
        match self {
            Self::Works => None,
            Self::Fails(why) if !why.is_empty() => Some(format!("{fault}: {why}")),
            Self::Untried | Self::Fails(_) => Some(fault.to_string()),
        }
    }
}

impl ComponentStates {
    /// The first component that does not work, and why.
    fn fault(&self) -> Option<String> {
        let masters = self.masters.fault("it is not known which redis is the master");
        let lanes = || self.lanes.iter().find_map(LaneComponentStates::fault);
        let moves = || self.moves.as_ref().map(|(why, _)| why.clone());
        masters.or_else(lanes).or_else(moves)
    }

    /// Whether an attempt has failed.
    fn has_failed(&self) -> bool {
        let components = self.lanes.iter().flat_map(|lane| &lane.components);
        components.chain([&self.masters]).any(|it| matches!(it, ComponentState::Fails(_)))
    }
}

impl LaneComponentStates {
    fn fault(&self) -> Option<String> {
        let [publisher, subscriber, _] = &self.components;
        if *subscriber != ComponentState::Works
            && let Some(fault) =
                publisher.fault(format_args!("redis at {} cannot be used", self.address))
        {
            return Some(fault);
        }
        let mut states = LaneComponent::EACH.iter().zip(&self.components);
        states.find_map(|(component, it)| {
            it.fault(format_args!("redis at {} {}", self.address, component.fault()))
        })
    }
}

impl BrokerState {
    /// `Err`: why the broker cannot be used now.
    pub fn ready(&self) -> Result<(), String> {
        let states = self.lock();
        match states.fault() {
            Some(fault) => Err(fault),
            None if states.rules_apply_at.is_some_and(|at| Instant::now() < at) => {
                Err("the rules of this node take effect in redis within a second".to_owned())
            }
            None => Ok(()),
        }
    }

    /// The rules in Redis take effect after `left`. A starting node is not ready before, because until
    /// then a service's `FCALL` is kept by the rules before them. A node that has worked stays ready:
    /// otherwise a change of rules would make the whole fleet unready at the same time.
    pub fn rules_apply_in(&self, left: Duration) {
        let mut states = self.lock();
        if !states.has_worked {
            states.rules_apply_at = states.rules_apply_at.max(Some(Instant::now() + left));
        }
    }

    /// The topology is known.
    pub fn masters_known(&self) {
        self.change(|it| _ = std::mem::replace(&mut it.masters, ComponentState::Works));
    }

    /// The topology is not known.
    pub fn masters_unknown(&self, why: &dyn Display) {
        self.change(|it| it.masters = ComponentState::Fails(why.to_string()));
    }

    /// Channels of moving slots can be used, or no slot moves.
    pub fn moves_work(&self) {
        if self.lock().moves.is_some() {
            self.change(|it| it.moves = None);
        }
    }

    /// Channels of moving slots cannot be used.
    pub fn moves_fail(&self, why: &dyn Display) {
        let why = format!("a slot that redis moves cannot be used: {why}");
        self.change(|it| it.moves = Some((why, Instant::now())));
    }

    /// Clears the fault of moving slots when it was last seen a while ago: no request may have
    /// tried them since.
    pub fn moves_age(&self) {
        let is_old = |(_, at): &(String, Instant)| at.elapsed() >= MOVES_FAULT_TTL;
        if self.lock().moves.as_ref().is_some_and(is_old) {
            self.moves_work();
        }
    }

    /// Adds a master, with no component working so far.
    pub fn add(self: &Arc<Self>, lane: u32, address: ServerAddress) -> LaneState {
        let components = Default::default();
        self.change(|it| it.lanes.push(LaneComponentStates { lane, address, components }));
        LaneState { state: self.clone(), lane }
    }

    fn change(&self, change: impl FnOnce(&mut ComponentStates)) {
        let mut states = self.lock();
        let before = states.fault();
        change(&mut states);
        let after = states.fault();
        let has_changed = before != after;
        states.has_worked |= after.is_none();
        let first = !states.is_reported;
        states.is_reported |= has_changed && (after.is_none() || states.has_failed());
        match (before, after) {
            (Some(_), None) => telemetry::broker_connected(),
            (None, Some(fault)) => telemetry::broker_lost(&fault),
            (Some(_), Some(fault)) if has_changed => {
                telemetry::broker_unreachable(&fault, first && states.is_reported);
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, ComponentStates> {
        self.0.lock().expect("no code panics while it holds the state lock")
    }
}

impl LaneState {
    pub fn works(&self, component: LaneComponent) {
        self.set(component, ComponentState::Works);
    }

    /// `why`: the attempt's error; empty where there is none.
    pub fn fails(&self, component: LaneComponent, why: &dyn Display) {
        self.set(component, ComponentState::Fails(why.to_string()));
    }

    /// Removes the master: the server is no longer one.
    pub fn remove(&self) {
        self.state.change(|it| it.lanes.retain(|lane| lane.lane != self.lane));
    }

    fn set(&self, component: LaneComponent, state: ComponentState) {
        self.state.change(|it| {
            if let Some(lane) = it.lanes.iter_mut().find(|lane| lane.lane == self.lane) {
                lane.components[component as usize] = state;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_moving_slot_that_cannot_be_used_makes_the_broker_unready() {
        let state = Arc::new(BrokerState::default());
        state.masters_known();
        state.moves_fail(&"host:2: no answer");
        let fault = "a slot that redis moves cannot be used: host:2: no answer";
        assert_eq!(state.ready(), Err(fault.to_owned()));
        state.moves_work();
        assert_eq!(state.ready(), Ok(()));
        state.moves_fail(&"host:2: no answer");
        state.moves_age();
        assert_eq!(state.ready(), Err(fault.to_owned()));
        tokio::time::advance(MOVES_FAULT_TTL).await;
        state.moves_age();
        assert_eq!(state.ready(), Ok(()), "no request has tried since");
    }

    #[tokio::test(start_paused = true)]
    async fn a_starting_node_is_not_ready_before_its_rules_apply_and_a_running_one_stays_ready() {
        let state = Arc::new(BrokerState::default());
        state.rules_apply_in(Duration::from_millis(1000));
        state.rules_apply_in(Duration::from_millis(900));
        state.masters_known();
        assert!(state.ready().unwrap_err().contains("take effect"));
        tokio::time::advance(Duration::from_millis(1000)).await;
        assert_eq!(state.ready(), Ok(()));
        state.rules_apply_in(Duration::from_millis(1000));
        assert_eq!(state.ready(), Ok(()), "other rules on a running fleet");
    }

    #[test]
    fn the_broker_is_ready_while_all_components_work_and_names_the_first_fault() {
        let state = Arc::new(BrokerState::default());
        let fault = "it is not known which redis is the master";
        assert_eq!(state.ready(), Err(fault.to_owned()));
        state.masters_known();
        let [a, b] = [1, 2].map(|lane| state.add(lane, ServerAddress::new("host", lane as u16)));
        for lane in [&a, &b] {
            assert!(state.ready().is_err());
            LaneComponent::EACH.iter().for_each(|component| lane.works(*component));
        }
        assert_eq!(state.ready(), Ok(()));
        b.fails(LaneComponent::Subscriber, &"connection refused");
        let fault = "redis at host:2 cannot be subscribed to: connection refused";
        assert_eq!(state.ready(), Err(fault.to_owned()));
        b.fails(LaneComponent::Publisher, &"connection refused");
        let fault = "redis at host:2 cannot be used: connection refused";
        assert_eq!(state.ready(), Err(fault.to_owned()), "both connections fail");
        b.works(LaneComponent::Subscriber);
        let fault = "redis at host:2 cannot be published to: connection refused";
        assert_eq!(state.ready(), Err(fault.to_owned()));
        b.remove();
        assert_eq!(state.ready(), Ok(()));
        b.works(LaneComponent::Probe);
        assert_eq!(state.ready(), Ok(()));
    }
}
