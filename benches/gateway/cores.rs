//! Pinning of processes to a core.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};

/// The cores on which a child process may run.
#[derive(Clone, Copy)]
pub enum Cores {
    Any,
    Only(usize),
}

impl Cores {
    /// The command that starts `program` on these cores. `taskset` becomes the program by exec, so the pid is the program's.
    pub fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Any => Command::new(program),
            Self::Only(core) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(core.to_string()).arg(program);
                command
            }
        }
    }
}

/// Keeps this process on one core until it is dropped.
pub struct Pinned {
    cores_before: String,
}

impl Pinned {
    /// Fails if the machine has no such core: on a single core, the measured process cannot be separated from the rest.
    pub fn to(core: usize) -> Result<Self> {
        ensure!(available_parallelism()?.get() > core, "this needs {} cores", core + 1);
        let status =
            fs::read_to_string("/proc/self/status").context("reading this process' status")?;
        let cores_before = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .context("Cpus_allowed_list in this process' status")?
            .trim()
            .to_owned();
        taskset(&core.to_string())?;
        Ok(Self { cores_before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = taskset(&self.cores_before) {
            eprintln!("the bench stays on one core: {error:#}");
        }
    }
}

fn taskset(cores: &str) -> Result<()> {
    let status = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", cores])
        .arg(std::process::id().to_string())
        .stdout(Stdio::null())
        .status()
        .context("running taskset")?;
    ensure!(status.success(), "taskset to cores {cores}: {status}");
    Ok(())
}
