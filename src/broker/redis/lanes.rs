//! Lanes, each of which is everything that talks to one master, and the map from channels to lanes.

pub mod in_flight;
pub mod lane;
pub mod lane_map;
pub mod slot;
pub mod slot_owners;
pub mod slot_queues;
