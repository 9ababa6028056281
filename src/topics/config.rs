//! The `[mercure]` section of the configuration.

use crate::settings::Settings;

/// The `[mercure]` section.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    pub enabled: bool,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let enabled = settings.section("mercure").flag(
            "enabled",
            Some(false),
            "Whether the node is a Mercure hub: `GET /.well-known/mercure` subscribes, `POST` publishes. Topics are channels, \
             rules decide who may use them, and the claim `mercure` of a token counts as its lists of channels.",
        );
        Self { enabled: enabled.unwrap_or_default() }
    }
}
