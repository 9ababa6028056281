//! `tidegate health`: the check for a container's probe.

use std::process::ExitCode;

use super::asking::ask;
use super::failure::Failure;
use crate::internal::Entrance;

pub fn run(entrance: &Entrance, ready: bool) -> Result<ExitCode, Failure> {
    ask(entrance, "GET", if ready { "/readyz" } else { "/healthz" })
}
