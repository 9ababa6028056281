//! What this build of Tidegate can do: a fault that needs more is shown as skipped, with the reason.

use std::fs;
use std::process::Command;

use crate::backend::Setup;
use crate::support::node::{outcome, tidegate};

#[derive(Clone, Copy, Debug)]
pub struct Offers {
    pub history: bool,
    sentinel: bool,
    cluster: bool,
}

impl Offers {
    /// Asks `tidegate check`.
    pub async fn of_this_build() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("rules.toml");
        let rules = "[[rules]]\npattern = \"h:*\"\nhistory = { size = 10, age = \"1m\" }\n";
        fs::write(&file, rules).expect("the file is written");
        let file = file.to_str().expect("a path of letters").to_owned();
        let takes = async |url: &str| {
            passes(tidegate(&["check", "--set", &format!("broker.url={url}")])).await
        };
        Self {
            history: passes(tidegate(&["check", "--config", &file])).await,
            sentinel: takes("redis+sentinel://127.0.0.1:1/mymaster").await,
            cluster: takes("redis+cluster://127.0.0.1:1").await,
        }
    }

    /// Why a setup cannot be tried.
    pub fn lacks(&self, setup: Setup) -> Option<&'static str> {
        match setup {
            Setup::Sentinel if !self.sentinel => Some("this build has no Sentinel"),
            Setup::Cluster if !self.cluster => Some("this build has no Cluster"),
            _ => None,
        }
    }
}

async fn passes(command: Command) -> bool {
    outcome(command).await.status.success()
}
