//! What commands write to standard output and standard error.

use std::io::{ErrorKind, Write};

use anyhow::Context;

/// Says what is no failure, and not what was meant either.
pub fn warn(what: &str) {
    eprintln!("tidegate: warning: {what}");
}

/// Writes to standard output. That its reader has gone is no failure: it has enough.
pub fn print(output: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(output.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot write to standard output"),
    }
}
