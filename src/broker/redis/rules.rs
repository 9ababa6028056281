//! The rules that the fleet has in Redis: keeping in step with them, and what is appended by them.

pub mod following;
pub mod installing;
mod mismatch;
pub mod past;
pub mod routing;
pub mod rule_list;
pub mod turns;
