//! Lanes, each all that speaks to one master, and the map of which lane has a channel.

pub mod lane;
pub mod lane_map;
pub mod slot;
pub mod slot_owners;
pub mod slot_queues;
