//! `tidegate drain`: moves a node's clients to other nodes, all or a share of them.

use std::process::ExitCode;

use super::asking::ask;
use super::failure::Failure;
use crate::internal::Entrance;

/// Returns as soon as the drain has started. `percent` None: all clients, and the node exits.
pub fn run(entrance: &Entrance, percent: Option<u8>) -> Result<ExitCode, Failure> {
    match percent {
        None => ask(entrance, "POST", "/api/drain"),
        Some(percent) => ask(entrance, "POST", &format!("/api/drain?percent={percent}")),
    }
}
