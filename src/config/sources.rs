//! Where settings may come from.

use std::path::PathBuf;

/// Where settings may come from, beside the defaults. Later ones win.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// TOML or YAML, by its ending.
    pub file: Option<PathBuf>,
    /// Variables, `TIDEGATE__SECTION__KEY`; taken from the process by [`Sources::with_environment`].
    pub environment: Vec<(String, String)>,
    /// `section.key=value`, as `--set` was given.
    pub flags: Vec<String>,
}

impl Sources {
    /// Adds the process's own environment.
    pub fn with_environment(mut self) -> Self {
        // Not `vars()`, which panics on a variable that is not Unicode, whoever set it.
        self.environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        self
    }
}
