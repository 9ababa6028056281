//! Events for the backend, read from their Redis Stream, and the check that they alternate.

use std::collections::{BTreeMap, BTreeSet};

use crate::eventually;
use crate::redis::Redis;

/// The setting that switches events on, and the stream's key.
pub const STREAM: &str = "tidegate:events";
pub const SETTING: &str = "events.stream=tidegate:events";

/// One entry of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendEvent {
    pub fields: BTreeMap<String, String>,
}

impl BackendEvent {
    /// A field's value, or an empty text.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Type, and channel or session.
    pub fn what(&self) -> (&str, &str) {
        let subject = if self.fields.contains_key("channel") { "channel" } else { "session" };
        (self.field("type"), self.field(subject))
    }

    /// What begins and ends: a channel's occupation, a membership, a session.
    fn subject(&self) -> Option<(String, bool)> {
        let field = |name| self.fields.get(name).cloned().unwrap_or("none".to_owned());
        match self.field("type") {
            kind @ ("occupied" | "vacated") => Some((field("channel"), kind == "occupied")),
            kind @ ("join" | "leave") => {
                Some((format!("{} in {}", field("user"), field("channel")), kind == "join"))
            }
            kind @ ("connected" | "disconnected") => Some((field("session"), kind == "connected")),
            _ => None,
        }
    }
}

/// All entries, oldest first.
pub async fn events(redis: &Redis) -> Vec<BackendEvent> {
    let entries: Vec<(String, BTreeMap<String, String>)> =
        redis.query(&["XRANGE", STREAM, "-", "+"]).await;
    entries.into_iter().map(|(_, fields)| BackendEvent { fields }).collect()
}

/// Waits until the types and channels of the events, without those of sessions, are these.
pub async fn expect_events(redis: &Redis, expected: &[(&str, &str)]) -> Vec<BackendEvent> {
    let mut last = Vec::new();
    eventually(&format!("the events {expected:?}"), async || {
        let mut all = events(redis).await;
        all.retain(|event| event.fields.contains_key("channel"));
        if all.len() >= expected.len() && all != last {
            let found: Vec<_> = all.iter().map(BackendEvent::what).collect();
            assert!(found.len() == expected.len() && found.starts_with(expected), "{found:?}");
        }
        last = all.clone();
        (all.len() == expected.len()).then_some(all)
    })
    .await
}

/// Asserts that beginnings and ends of each subject alternate, first a beginning, and that no id is there twice.
/// Returns the subjects that have not ended.
pub fn assert_alternating(events: &[BackendEvent]) -> BTreeSet<String> {
    let mut open = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (at, event) in events.iter().enumerate() {
        assert!(ids.insert(event.field("id")), "two events have the id of {event:?}");
        let Some((subject, begins)) = event.subject() else { continue };
        // A session whose user changes is connected again.
        let is_new = match begins {
            true => open.insert(subject.clone()) || event.field("type") == "connected",
            false => open.remove(&subject),
        };
        assert!(is_new, "event {at} repeats for {subject}: {event:?}");
    }
    open
}
