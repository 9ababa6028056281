//! The topic aliases of a client (section 3.3.2.3.4).

use std::collections::HashMap;

use super::reason::{PacketFault, Reason};

/// The highest alias that a client may use, which CONNACK tells it.
pub const TOPIC_ALIAS_MAXIMUM: u16 = 32;

/// Topics by alias.
#[derive(Debug, Default)]
pub struct TopicAliases(HashMap<u16, Box<str>>);

impl TopicAliases {
    /// The topic of a packet: its own, which the alias stands for from now on, or that of the alias.
    pub fn resolve(&mut self, alias: Option<u16>, topic: &str) -> Result<Box<str>, PacketFault> {
        let Some(alias) = alias else { return Ok(topic.into()) };
        if !(1..=TOPIC_ALIAS_MAXIMUM).contains(&alias) {
            let what = "a topic alias is 1 to 32";
            return Err(PacketFault { reason: Reason::TopicAliasInvalid, what });
        }
        if !topic.is_empty() {
            self.0.insert(alias, topic.into());
            return Ok(topic.into());
        }
        let known = self.0.get(&alias).cloned();
        known.ok_or(PacketFault::protocol("a topic alias stands for no topic yet"))
    }
}
