//! The rules that the fleet has in Redis: keeping in step with them, and what is appended by them.

pub mod bypassed_history;
pub mod following;
pub mod installing;
mod mismatch;
pub mod routing;
pub mod rule_changes;
pub mod rule_list;
