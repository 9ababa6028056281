//! Lanes, each of which is everything that talks to one master, and the map from channels to lanes.

pub mod lane;
pub mod lane_map;
pub mod slot;
pub mod slot_owners;
pub mod slot_queues;
pub mod unanswered_batches;
