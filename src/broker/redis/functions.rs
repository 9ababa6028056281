//! The library of Redis Functions: its Lua, and how it gets into Redis.

mod interruptions;
pub mod library;
