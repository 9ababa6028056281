//! The `[telemetry]` section.

use tracing::level_filters::LevelFilter;

use super::trace;
use crate::settings::Settings;

/// The most counters `telemetry.top_channels` allows: at most 5.3 MB.
const TOP_CHANNELS_MAX: usize = 4096;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    Text,
    Json,
}

/// The `[telemetry]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub log_level: LevelFilter,
    pub log_format: LogFormat,
    pub traces: trace::Config,
    /// The number of counters for the busiest channels. 0: counts nothing.
    pub top_channels: usize,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("telemetry");
        Self {
            log_level: section.choice(
                "log_level",
                "info",
                &[
                    ("error", LevelFilter::ERROR),
                    ("warn", LevelFilter::WARN),
                    ("info", LevelFilter::INFO),
                    ("debug", LevelFilter::DEBUG),
                    ("trace", LevelFilter::TRACE),
                ],
                "The least severe lines that are logged. `error`: an operator must act; `warn`: an operator \
                 may want to look.",
            ),
            log_format: section.choice(
                "log_format",
                "auto",
                &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
                "`text` for people, `json` for machines; `auto`: text if stderr is a terminal, else JSON.",
            ),
            traces: trace::Config::read(&mut section),
            top_channels: section.number(
                "top_channels",
                512,
                0..=TOP_CHANNELS_MAX,
                "The number of counters for the busiest channels (`GET /api/top`), and of as many for their \
                 bytes. A higher number counts more channels exactly. Rounded up to a multiple of 64, at most \
                 1.3 KB each. 0: counts nothing.",
            ),
        }
    }
}

impl Config {
    /// For commands that report errors themselves: logs nothing below `error`.
    pub fn quiet(&mut self) {
        self.log_level = self.log_level.min(LevelFilter::ERROR);
    }

    /// For commands run by hand: logs text, unless JSON is configured.
    pub fn for_people(&mut self) {
        if self.log_format == LogFormat::Auto {
            self.log_format = LogFormat::Text;
        }
    }
}
