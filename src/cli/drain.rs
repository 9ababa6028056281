//! `tidegate drain`: moves a node's clients to other nodes, all or a share of them.

use std::process::ExitCode;

use super::failure::Failure;
use super::local_request::send;
use crate::internal::ApiEndpoint;

/// Returns as soon as the drain has started. `percent` None: all clients, and the node exits.
pub fn run(endpoint: &ApiEndpoint, percent: Option<u8>) -> Result<ExitCode, Failure> {
    match percent {
        None => send(endpoint, "POST", "/api/drain"),
        Some(percent) => send(endpoint, "POST", &format!("/api/drain?percent={percent}")),
    }
}
