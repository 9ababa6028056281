//! The sources of settings.

use std::path::PathBuf;

/// The sources of settings besides the defaults. Later fields override earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// TOML or YAML, by its extension.
    pub file: Option<PathBuf>,
    /// Variables, `TIDEGATE__SECTION__KEY`; taken from the process by [`Sources::with_environment`].
    pub environment: Vec<(String, String)>,
    /// `section.key=value`, as given to `--set`.
    pub flags: Vec<String>,
}

impl Sources {
    /// Adds the process's own environment.
    pub fn with_environment(mut self) -> Self {
        // Not `vars()`, which panics on a variable that is not valid Unicode.
        self.environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        self
    }
}
