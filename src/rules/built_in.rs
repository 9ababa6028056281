//! The rules of a node whose configuration has none.

use std::sync::Arc;

/// The rules of the demo pages' channels, for a node without rules whose broker is in its own memory. Only the newest
/// of `demo:live:` matters (prices, cursors, positions in a game); `demo:run:` are answers; the others keep history and
/// presence.
const DEMO_RULES: &str = r#"[{ pattern = "demo:live:**", delivery = "latest" }, { pattern = "demo:run:**", history = { size = 4000, age = "1d" }, run = { lease = "10s", merge = "text", control = "demo:control:{name}" } }, { pattern = "demo:**", history = { size = 500, age = "1d" }, presence = true }]"#;

/// The rules of a node whose configuration has none.
#[derive(Clone, Debug)]
pub struct BuiltInRules {
    /// The list, in TOML.
    pub text: Arc<str>,
    /// What they are built in for, as the origin of a setting.
    pub origin: &'static str,
}

/// The origin of [`DEMO_RULES`].
const FOR_DEMO: &str = "built in for the demo pages, because no rules are set";

/// The origin of the rules of applications.
const FOR_APPS: &str = "built in for pusher.apps, because no rules are set";

impl BuiltInRules {
    /// [`DEMO_RULES`].
    pub fn demo() -> Self {
        Self { text: DEMO_RULES.into(), origin: FOR_DEMO }
    }

    /// Rules of applications, as tables in TOML, and with `demo` [`DEMO_RULES`] behind them.
    pub fn of_apps(mut tables: Vec<String>, demo: bool) -> Self {
        if demo {
            tables.push(DEMO_RULES.trim_matches(['[', ']']).to_owned());
        }
        Self { text: format!("[{}]", tables.join(", ")).into(), origin: FOR_APPS }
    }
}
