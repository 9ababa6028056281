//! Lanes, each all that speaks to one master, and the map of which lane has a channel.

pub mod lane;
pub mod map;
pub mod place;
pub mod slot;
pub mod takers;
