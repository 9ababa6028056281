//! The log: lines for people on a terminal, JSON for machines everywhere else. To standard error,
//! so that what `tidegate subscribe` prints stays clean. A thread of its own writes them, see [`writer`].

mod writer;

use std::fs::File;
use std::io::{IsTerminal, Write, stderr};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use self::writer::{LogQueue, Report};
use super::metrics::METRICS;
use super::trace;
use crate::settings::Settings;

/// How long the end of a process waits for its last lines to be written.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a panic waits for its line to be written: another panic may follow that ends the process.
const PANIC_LINE_TIMEOUT: Duration = Duration::from_millis(50);

/// Most counters of `telemetry.top_channels`: 5.3 MB, at most.
const TOP_CHANNELS_MAX: usize = 4096;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, else JSON.
    Auto,
    Text,
    Json,
}

/// The `[telemetry]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub log_level: LevelFilter,
    pub log_format: Format,
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
                &[("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)],
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
        if self.log_format == Format::Auto {
            self.log_format = Format::Text;
        }
    }
}

/// Starts the log of this process. Only the first call counts.
pub fn start_log(config: &Config) {
    let (filter, handle) = reload::Layer::new(lines_of(config.log_level));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(queue().clone())
        // It would be told on standard error, by a write that may block.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let text = match config.log_format {
        Format::Auto => stderr().is_terminal(),
        Format::Text => true,
        Format::Json => false,
    };
    let log = tracing_subscriber::registry().with(filter);
    let started = match text {
        true => log.with(layer).try_init(),
        false => log.with(layer.json().flatten_event(true)).try_init(),
    };
    // Fails only where a log was started before, as tests in one process do.
    if started.is_ok() {
        // And if the log is gone, there is nothing to set.
        _ = SET_LEVEL.set(Box::new(move |level| _ = handle.reload(lines_of(level))));
    }
}

static QUEUE: OnceLock<LogQueue> = OnceLock::new();

fn queue() -> &'static LogQueue {
    QUEUE.get_or_init(|| {
        // A descriptor of its own: a blocked write must not hold the lock of `stderr()`, which others may want.
        let own = stderr().as_fd().try_clone_to_owned().map(File::from);
        let output: Box<dyn Write + Send> = match own {
            Ok(file) => Box::new(file),
            Err(_) => Box::new(stderr()),
        };
        LogQueue::start(output, Dropped)
    })
}

struct Dropped;

impl Report for Dropped {
    fn dropped(&self, lines: u64) {
        METRICS.log_lines_dropped.inc_by(lines);
    }

    fn tell(&self, lines: u64) {
        super::log_lines_dropped(lines);
    }
}

/// Writes what this process has to say last, beside the log, and waits a bounded time for it.
pub fn last_words(words: &str) {
    queue().push(format!("{words}\n").as_bytes());
    flush_log();
}

/// Waits a bounded time until the log is written. For the end of the process.
pub fn flush_log() {
    flush(LAST_LINES_TIMEOUT);
}

/// The same for a panic, which ends the process only where another follows.
pub(super) fn flush_panic() {
    flush(PANIC_LINE_TIMEOUT);
}

/// What is not written by then is lost: the reader has not read for too long.
fn flush(timeout: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(timeout);
    }
}

/// Flushes the log when it is dropped, also by a panic of the main thread.
pub struct FlushLog;

impl Drop for FlushLog {
    fn drop(&mut self) {
        flush_log();
    }
}

/// The crates that send traces write a line for every frame of every request, at `debug`. What went wrong
/// is told by [`super::traces_not_taken`].
const EXPORTING: [&str; 5] = ["h2", "hyper", "opentelemetry", "tonic", "tower"];

fn lines_of(level: LevelFilter) -> Targets {
    let exporting = level.min(LevelFilter::ERROR);
    Targets::new().with_default(level).with_targets(EXPORTING.map(|name| (name, exporting)))
}

type SetLevel = Box<dyn Fn(LevelFilter) + Send + Sync>;

static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// From here on warnings are logged too, of a command that was quiet until what it does goes on for long.
pub fn log_warnings() {
    set_log_level(LevelFilter::WARN);
}

/// From here on less important lines are not logged.
pub fn set_log_level(level: LevelFilter) {
    if let Some(set) = SET_LEVEL.get() {
        set(level);
    }
}
