//! The open-file limit for thousands of clients in one process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the open-file limit of this process to the maximum that the system allows.
pub fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("the limit may be raised to its maximum");
}
