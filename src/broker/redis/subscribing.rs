//! The channels that this node subscribes to at one master, and whether the subscriptions are live.

pub mod channels;
mod commands;
mod connection_state;
mod dispatcher;
pub mod nodes;
mod pattern_routes;
mod probe;
pub mod subscriber;
pub mod subscription_counts;
pub mod subscription_queue;
