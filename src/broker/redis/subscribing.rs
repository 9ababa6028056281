//! The channels that are wanted of one master, and whether they are truly live.

mod commands;
mod course;
mod hearing;
pub mod nodes;
mod probe;
pub mod subscriber;
pub mod tally;
pub mod wanted;
