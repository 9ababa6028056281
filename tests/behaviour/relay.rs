//! What one client sends, and what services publish, reaches every subscriber as it is.

mod api;
mod claims;
mod command_line;
mod envelope;
mod memory;
mod order;
mod plain;
mod service;
