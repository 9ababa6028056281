//! The channels that are wanted of one master, and whether they are truly live.

mod commands;
mod connection_state;
mod dispatcher;
pub mod nodes;
mod probe;
pub mod subscriber;
pub mod subscription_counts;
pub mod subscription_queue;
