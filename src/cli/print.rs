//! What commands write to standard output and standard error.

use std::io::{ErrorKind, Write};

use anyhow::Context;

/// Warns of something that is not a failure but probably not intended.
pub fn warn(what: &str) {
    eprintln!("tidegate: warning: {what}");
}

/// Writes to standard output. A closed pipe is not a failure.
pub fn print(output: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(output.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot write to standard output"),
    }
}
