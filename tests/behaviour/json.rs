//! The json protocol: one JSON object a text frame.

mod commands;
mod endings;
mod errors;
mod pipelined;
