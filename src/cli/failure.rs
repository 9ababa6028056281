//! Why a command fails, and the exit codes.

use crate::settings::SettingsFaults;

/// The exit code for a configuration that cannot be used; clap's own for arguments is the same.
pub const EXIT_CONFIGURATION: u8 = 2;

/// The exit code for everything else that went wrong.
pub const EXIT_FAILURE: u8 = 1;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration, or an argument, cannot be used.
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
