//! The json protocol: one JSON object a text frame.

mod commands;
mod errors;
mod fatal_errors;
mod pipelined;
mod publications;
