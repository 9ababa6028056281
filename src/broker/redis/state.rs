//! What works of the broker right now, for readiness, the log and `tidegate_broker_up`.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard};

use crate::telemetry;

/// The three things that must work, each reported by the task that sees it.
#[derive(Debug, Default)]
pub struct State(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts([Standing; 3]);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Nothing has been heard of it so far.
    #[default]
    Untried,
    Works,
    /// With what the last attempt said.
    Fails(String),
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

impl Part {
    const EACH: [Self; 3] = [Self::Publisher, Self::Subscriber, Self::Probe];

    fn fault(self) -> &'static str {
        match self {
            Self::Publisher => "redis cannot be published to",
            Self::Subscriber => "redis cannot be subscribed to",
            Self::Probe => "redis does not relay what this node publishes",
        }
    }
}

impl Parts {
    /// The first thing that does not work, and why.
    fn fault(&self) -> Option<String> {
        let standing = Part::EACH.iter().zip(&self.0);
        let (part, standing) = standing.into_iter().find(|(_, it)| **it != Standing::Works)?;
        Some(match standing {
            Standing::Fails(why) if !why.is_empty() => format!("{}: {why}", part.fault()),
            _ => part.fault().to_owned(),
        })
    }
}

impl State {
    /// Can the broker be used? If not, why.
    pub fn ready(&self) -> Result<(), String> {
        match self.lock().fault() {
            None => Ok(()),
            Some(fault) => Err(fault),
        }
    }

    /// The broker is up while all parts work.
    pub fn works(&self, part: Part) {
        let mut parts = self.lock();
        let was_up = parts.fault().is_none();
        parts.0[part as usize] = Standing::Works;
        if !was_up && parts.fault().is_none() {
            telemetry::broker_connected();
        }
    }

    /// `why`: what the attempt said; empty where there is nothing to say.
    pub fn fails(&self, part: Part, why: &dyn Display) {
        let mut parts = self.lock();
        let was_up = parts.fault().is_none();
        let standing = &mut parts.0[part as usize];
        let first = *standing == Standing::Untried;
        *standing = Standing::Fails(why.to_string());
        let fault = parts.fault().unwrap_or_default();
        match was_up {
            true => telemetry::broker_lost(&fault),
            false => telemetry::broker_unreachable(&fault, first),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().expect("no code panics while it holds the state lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_while_all_parts_work_and_says_why_not() {
        let state = State::default();
        assert_eq!(state.ready(), Err("redis cannot be published to".to_owned()));
        Part::EACH.iter().for_each(|part| state.works(*part));
        assert_eq!(state.ready(), Ok(()));
        state.fails(Part::Subscriber, &"connection refused");
        assert_eq!(
            state.ready(),
            Err("redis cannot be subscribed to: connection refused".to_owned())
        );
        state.works(Part::Subscriber);
        assert_eq!(state.ready(), Ok(()));
    }
}
