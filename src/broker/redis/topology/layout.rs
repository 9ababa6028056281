//! Who owns which slot.

use std::collections::BTreeMap;

use crate::broker::redis::connection::server::ServerAddress;
use crate::broker::redis::lanes::slot::Slot;

/// Who owns which slot, as Redis says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub masters: Vec<ServerAddress>,
    /// For each slot the place of its master in `masters`; a single entry where there are no slots.
    pub owners: Vec<Option<u16>>,
    /// Slots that are on their way from their master to the one of this place in `masters`.
    pub moving: BTreeMap<Slot, u16>,
}

impl Layout {
    /// One master has all channels.
    pub fn one(master: ServerAddress) -> Self {
        Self { masters: vec![master], owners: vec![Some(0)], moving: BTreeMap::new() }
    }
}
