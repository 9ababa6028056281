//! A channel's history in Redis.

pub mod calls;
