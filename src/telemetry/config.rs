//! The `[telemetry]` section.

use tracing::level_filters::LevelFilter;

use super::trace;
use crate::settings::Settings;

/// Most counters of `telemetry.top_channels`: 5.3 MB, at most.
const TOP_CHANNELS_MAX: usize = 4096;

/// How log lines look.
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
    /// Counters for the busiest channels. 0: nothing is counted.
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
                "Least important lines that are logged. `error`: somebody must act; `warn`: may look.",
            ),
            log_format: section.choice(
                "log_format",
                "auto",
                &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
                "`text` for people, `json` for machines; `auto` asks whether stderr is a terminal.",
            ),
            traces: trace::Config::read(&mut section),
            top_channels: section.number(
                "top_channels",
                512,
                0..=TOP_CHANNELS_MAX,
                "Counters for the busiest channels (`GET /api/top`), as many again for their bytes: \
                 with more, more of them are counted exactly. Rounded up to a multiple of 64, at most 1.3 KB \
                 each. 0: nothing is counted.",
            ),
        }
    }
}

impl Config {
    /// For commands that tell what went wrong in words of their own: nothing below `error` is logged.
    pub fn quiet(&mut self) {
        self.log_level = self.log_level.min(LevelFilter::ERROR);
    }

    /// For commands that somebody runs by hand: lines, unless JSON was asked for.
    pub fn for_people(&mut self) {
        if self.log_format == LogFormat::Auto {
            self.log_format = LogFormat::Text;
        }
    }
}
