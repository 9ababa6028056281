//! The library of Redis Functions: its Lua code, and how nodes install it.

pub mod code;
pub mod fleet;
pub mod library;
mod rule_starts;
