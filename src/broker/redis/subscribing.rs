//! The channels that are wanted of one master, and whether they are truly live.

pub mod course;
pub mod probe;
pub mod subscriber;
pub mod tally;
pub mod wanted;
