//! The library of Redis Functions: its Lua, and how it gets into Redis.

pub mod code;
pub mod fleet;
pub mod library;
mod rule_starts;
