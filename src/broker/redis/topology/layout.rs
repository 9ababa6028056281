//! Which master owns which slot.

use std::collections::BTreeMap;

use crate::broker::redis::connection::server::ServerAddress;
use crate::broker::redis::lanes::slot::Slot;

/// Which master owns which slot, as Redis reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub masters: Vec<ServerAddress>,
    /// For each slot the index of its master in `masters`; a single entry without a cluster.
    pub owners: Vec<Option<u16>>,
    /// Moving slots, each with the index in `masters` of the master it moves to.
    pub moving: BTreeMap<Slot, u16>,
}

impl Layout {
    /// A layout in which one master owns all channels.
    pub fn one(master: ServerAddress) -> Self {
        Self { masters: vec![master], owners: vec![Some(0)], moving: BTreeMap::new() }
    }
}
