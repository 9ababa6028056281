//! The fleet's rules in Redis: following them, and which publications are appended by them.

pub mod bypassed_history;
pub mod following;
pub mod installing;
mod mismatch;
pub mod routing;
pub mod rule_changes;
pub mod rule_list;
