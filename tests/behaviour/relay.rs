//! Publications of clients and services reach every subscriber unchanged.

mod api;
mod command_line;
mod envelope;
mod memory;
mod order;
mod plain;
mod service;
mod subscriptions;
