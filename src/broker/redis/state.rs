//! What works of the broker right now, for readiness, the log and `tidegate_broker_up`.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::redis::connection::server::ServerAddress;
use crate::telemetry;

/// How long it counts that a channel of a slot that moves could not be used.
const MOVES_TOLD: Duration = Duration::from_secs(30);

/// All that must work: the masters are known, and three things of each.
#[derive(Debug, Default)]
pub struct BrokerState(Mutex<ComponentStates>);

/// A master's part of the state.
#[derive(Clone, Debug)]
pub struct LaneState {
    state: Arc<BrokerState>,
    lane: u32,
}

#[derive(Debug, Default)]
struct ComponentStates {
    masters: ComponentState,
    lanes: Vec<LaneComponentStates>,
    /// Why channels of slots that move cannot be used, and when that was seen. None: they can, or there are none.
    moves: Option<(String, Instant)>,
    /// It has been told how the first attempt went.
    told: bool,
}

#[derive(Debug)]
struct LaneComponentStates {
    lane: u32,
    address: ServerAddress,
    parts: [ComponentState; 3],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ComponentState {
    /// Nothing has been heard of it so far.
    #[default]
    Untried,
    Works,
    /// With what the last attempt said.
    Fails(String),
}

/// One of the things that must work of a master, each reported by the task that sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneComponent {
    /// The connection that publishes.
    Publisher,
    /// The connection that is subscribed; all that is wanted has been asked for.
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
    /// `fault`, and why where that is known. None: it works.
    fn fault(&self, fault: impl Display) -> Option<String> {
        match self {
            Self::Works => None,
            Self::Fails(why) if !why.is_empty() => Some(format!("{fault}: {why}")),
            Self::Untried | Self::Fails(_) => Some(fault.to_string()),
        }
    }
}

impl ComponentStates {
    /// The first thing that does not work, and why.
    fn fault(&self) -> Option<String> {
        let masters = self.masters.fault("it is not known which redis is the master");
        let lanes = || self.lanes.iter().find_map(LaneComponentStates::fault);
        let moves = || self.moves.as_ref().map(|(why, _)| why.clone());
        masters.or_else(lanes).or_else(moves)
    }

    /// Has an attempt said something?
    fn has_failed(&self) -> bool {
        let parts = self.lanes.iter().flat_map(|lane| &lane.parts);
        parts.chain([&self.masters]).any(|it| matches!(it, ComponentState::Fails(_)))
    }
}

impl LaneComponentStates {
    fn fault(&self) -> Option<String> {
        let [publisher, subscriber, _] = &self.parts;
        if *subscriber != ComponentState::Works
            && let Some(fault) =
                publisher.fault(format_args!("redis at {} cannot be used", self.address))
        {
            return Some(fault);
        }
        let mut standings = LaneComponent::EACH.iter().zip(&self.parts);
        standings.find_map(|(part, it)| {
            it.fault(format_args!("redis at {} {}", self.address, part.fault()))
        })
    }
}

impl BrokerState {
    /// Can the broker be used? If not, why.
    pub fn ready(&self) -> Result<(), String> {
        match self.lock().fault() {
            None => Ok(()),
            Some(fault) => Err(fault),
        }
    }

    /// It is known which servers are masters.
    pub fn masters_known(&self) {
        self.change(|it| _ = std::mem::replace(&mut it.masters, ComponentState::Works));
    }

    /// It is not known.
    pub fn masters_unknown(&self, why: &dyn Display) {
        self.change(|it| it.masters = ComponentState::Fails(why.to_string()));
    }

    /// Channels of slots that move can be used, or none moves.
    pub fn moves_work(&self) {
        if self.lock().moves.is_some() {
            self.change(|it| it.moves = None);
        }
    }

    /// They cannot.
    pub fn moves_fail(&self, why: &dyn Display) {
        let why = format!("a slot that redis moves cannot be used: {why}");
        self.change(|it| it.moves = Some((why, Instant::now())));
    }

    /// Forgets that they cannot where nobody has seen it for a while: nobody may have tried again.
    pub fn moves_age(&self) {
        let is_old = |(_, at): &(String, Instant)| at.elapsed() >= MOVES_TOLD;
        if self.lock().moves.as_ref().is_some_and(is_old) {
            self.moves_work();
        }
    }

    /// A master more, of which nothing works so far.
    pub fn add(self: &Arc<Self>, lane: u32, address: ServerAddress) -> LaneState {
        let parts = Default::default();
        self.change(|it| it.lanes.push(LaneComponentStates { lane, address, parts }));
        LaneState { state: self.clone(), lane }
    }

    fn change(&self, change: impl FnOnce(&mut ComponentStates)) {
        let mut standings = self.lock();
        let before = standings.fault();
        change(&mut standings);
        let after = standings.fault();
        let has_news = before != after;
        let first = !standings.told;
        standings.told |= has_news && (after.is_none() || standings.has_failed());
        match (before, after) {
            (Some(_), None) => telemetry::broker_connected(),
            (None, Some(fault)) => telemetry::broker_lost(&fault),
            (Some(_), Some(fault)) if has_news => {
                telemetry::broker_unreachable(&fault, first && standings.told);
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, ComponentStates> {
        self.0.lock().expect("no code panics while it holds the state lock")
    }
}

impl LaneState {
    pub fn works(&self, part: LaneComponent) {
        self.set(part, ComponentState::Works);
    }

    /// `why`: what the attempt said; empty where there is nothing to say.
    pub fn fails(&self, part: LaneComponent, why: &dyn Display) {
        self.set(part, ComponentState::Fails(why.to_string()));
    }

    /// The server is no master any more, and nothing is asked of it.
    pub fn remove(&self) {
        self.state.change(|it| it.lanes.retain(|lane| lane.lane != self.lane));
    }

    fn set(&self, part: LaneComponent, standing: ComponentState) {
        self.state.change(|it| {
            if let Some(lane) = it.lanes.iter_mut().find(|lane| lane.lane == self.lane) {
                lane.parts[part as usize] = standing;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_cannot_be_used_is_a_reason_of_its_own() {
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
        tokio::time::advance(MOVES_TOLD).await;
        state.moves_age();
        assert_eq!(state.ready(), Ok(()), "nobody has tried since");
    }

    #[test]
    fn it_is_ready_while_all_parts_of_all_masters_work_and_says_why_not() {
        let state = Arc::new(BrokerState::default());
        let fault = "it is not known which redis is the master";
        assert_eq!(state.ready(), Err(fault.to_owned()));
        state.masters_known();
        let [a, b] = [1, 2].map(|lane| state.add(lane, ServerAddress::new("host", lane as u16)));
        for lane in [&a, &b] {
            assert!(state.ready().is_err());
            LaneComponent::EACH.iter().for_each(|part| lane.works(*part));
        }
        assert_eq!(state.ready(), Ok(()));
        b.fails(LaneComponent::Subscriber, &"connection refused");
        let fault = "redis at host:2 cannot be subscribed to: connection refused";
        assert_eq!(state.ready(), Err(fault.to_owned()));
        b.fails(LaneComponent::Publisher, &"connection refused");
        let fault = "redis at host:2 cannot be used: connection refused";
        assert_eq!(
            state.ready(),
            Err(fault.to_owned()),
            "a subscriber is told of more than publishing"
        );
        b.works(LaneComponent::Subscriber);
        let fault = "redis at host:2 cannot be published to: connection refused";
        assert_eq!(state.ready(), Err(fault.to_owned()));
        b.remove();
        assert_eq!(state.ready(), Ok(()));
        b.works(LaneComponent::Probe);
        assert_eq!(state.ready(), Ok(()));
    }
}
