//! The library of Redis Functions: its Lua, and how it gets into Redis.

pub mod code;
pub mod fleet;
mod kept;
pub mod library;
