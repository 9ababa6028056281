//! A wall clock that a test sets for one node.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/clock.c");

/// The clock, and the environment that makes a node use it.
pub struct Clock {
    file: File,
    directory: TempDir,
}

impl Clock {
    /// A clock that is `seconds` ahead of the real time.
    pub fn ahead_by(seconds: i64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let library = directory.path().join("clock.so");
        // The same C compiler that builds the program's cryptography.
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(SOURCE).arg("-ldl");
        assert!(compiler.status().expect("a C compiler runs").success(), "it compiles");
        let path = directory.path().join("ahead");
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let clock = Self { file: file.expect("a file"), directory };
        clock.set_ahead_by(seconds);
        clock
    }

    /// Sets how many seconds the clock is ahead.
    pub fn set_ahead_by(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).expect("it is written");
    }

    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let path = |name| self.directory.path().join(name);
        [("LD_PRELOAD", path("clock.so")), ("TEST_CLOCK", path("ahead"))]
    }
}
