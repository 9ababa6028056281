//! Failures of commands, and the exit codes.

use crate::settings::SettingsFaults;

/// The exit code for an invalid configuration; clap's for invalid arguments is the same.
pub const EXIT_CONFIGURATION: u8 = 2;

/// The exit code for all other failures.
pub const EXIT_FAILURE: u8 = 1;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration, or an argument, is invalid.
    #[error("{0}")]
    Configuration(String),
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl From<SettingsFaults> for Failure {
    fn from(faults: SettingsFaults) -> Self {
        Self::Configuration(faults.to_string())
    }
}
