//! A child process, with its CPU time and memory from the kernel.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A child process, killed by its pid when this is dropped.
pub struct Process {
    name: &'static str,
    child: Child,
}

/// The CPU time of each thread at one moment, in nanoseconds.
///
/// From `schedstat`, because `/proc/PID/stat` counts in ticks of 10 ms. The time of a thread that ends between two
/// readings is lost; the worker threads measured here exist as long as their process.
pub struct CpuReading(HashMap<u32, u64>);

impl Process {
    /// Starts `command` without standard input. It inherits standard error.
    pub fn spawn(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {name}: {command:?}"))?;
        Ok(Self { name, child })
    }

    /// Its standard output, if `command` pipes it and this is the first call.
    pub fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Fails when the process has ended.
    pub fn expect_alive(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("waiting for {}", self.name))? {
            Some(status) => bail!("{} ended early: {status}", self.name),
            None => Ok(()),
        }
    }

    /// The CPU time of its threads so far: exact for idle threads, otherwise up to a tick (4 ms) old.
    pub fn cpu(&self) -> Result<CpuReading> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut threads = HashMap::new();
        for task in fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))? {
            let task = task.with_context(|| format!("reading {tasks}"))?;
            // A thread may end between the listing and this reading.
            let Ok(schedstat) = fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            let thread = task.file_name().to_string_lossy().parse().context("a thread id")?;
            let nanoseconds = schedstat
                .split_whitespace()
                .next()
                .and_then(|field| field.parse().ok())
                .with_context(|| format!("the run time in schedstat {schedstat:?}"))?;
            threads.insert(thread, nanoseconds);
        }
        Ok(CpuReading(threads))
    }

    /// The CPU time used since `earlier`.
    pub fn cpu_since(&self, earlier: &CpuReading) -> Result<Duration> {
        let now = self.cpu()?;
        let used = now
            .0
            .iter()
            .map(|(thread, nanoseconds)| {
                nanoseconds.saturating_sub(*earlier.0.get(thread).unwrap_or(&0))
            })
            .sum();
        Ok(Duration::from_nanos(used))
    }

    /// Proportional set size: its private resident memory and its share of shared memory. The kernel walks all page tables
    /// for it, so do not sample it under load.
    pub fn pss_bytes(&self) -> Result<u64> {
        self.kilobytes("smaps_rollup", "Pss:")
    }

    /// Resident set size: cheap to read, for sampling under load.
    pub fn rss_bytes(&self) -> Result<u64> {
        self.kilobytes("status", "VmRSS:")
    }

    fn kilobytes(&self, file: &str, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/{file}", self.child.id());
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let kilobytes: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("{field} in {path}"))?;
        Ok(kilobytes * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
