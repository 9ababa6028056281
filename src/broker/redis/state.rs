//! What works of the broker right now, for readiness and `tidegate_broker_up`.

use std::sync::Mutex;

use super::Unavailable;
use crate::telemetry;

/// The three things that must work, each reported by the task that sees it.
#[derive(Debug, Default)]
pub struct State(Mutex<Parts>);

#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    publisher: bool,
    subscriber: bool,
    probe: bool,
}

/// One of the things that must work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The connection that publishes.
    Publisher,
    /// The connection that is subscribed; all that is wanted has been asked for.
    Subscriber,
    /// The node's own publications come back.
    Probe,
}

impl Parts {
    fn fault(self) -> Option<&'static str> {
        match self {
            Self { publisher: false, .. } => Some("redis cannot be published to"),
            Self { subscriber: false, .. } => Some("redis cannot be subscribed to"),
            Self { probe: false, .. } => Some("redis does not relay what this node publishes"),
            _ => None,
        }
    }
}

impl State {
    pub fn ready(&self) -> Result<(), Unavailable> {
        match self.lock().fault() {
            None => Ok(()),
            Some(fault) => Err(Unavailable(fault)),
        }
    }

    /// Notes whether a part works; the broker is up while all do.
    pub fn set(&self, part: Part, works: bool) {
        let mut parts = self.lock();
        let before = parts.fault();
        *match part {
            Part::Publisher => &mut parts.publisher,
            Part::Subscriber => &mut parts.subscriber,
            Part::Probe => &mut parts.probe,
        } = works;
        match (before, parts.fault()) {
            (Some(_), None) => telemetry::broker_connected(),
            (None, Some(fault)) => telemetry::broker_lost(&fault),
            _ => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Parts> {
        self.0.lock().expect("no code panics while it holds the state lock")
    }
}
