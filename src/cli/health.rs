//! `tidegate health`: the check for a container's probe.

use std::process::ExitCode;

use super::failure::Failure;
use super::local_request::send;
use crate::internal::ApiEndpoint;

pub fn run(endpoint: &ApiEndpoint, ready: bool) -> Result<ExitCode, Failure> {
    send(endpoint, "GET", if ready { "/readyz" } else { "/healthz" })
}
