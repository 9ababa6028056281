//! `tidegate health`: what a container's probe needs.

use std::process::ExitCode;

use super::asking::ask;
use crate::internal::Entrance;

pub fn run(entrance: &Entrance, ready: bool) -> ExitCode {
    ask(entrance, "GET", if ready { "/readyz" } else { "/healthz" })
}
