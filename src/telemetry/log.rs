//! The log: text for people on a terminal, JSON for machines everywhere else. Written to standard error, so that
//! the output of `tidegate subscribe` stays clean, by a separate thread, see [`writer`].

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
use super::config::{Config, LogFormat};
use super::metrics::METRICS;

/// How long a process waits at its end for its last lines to be written.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a panic waits for its line to be written, because a second panic may end the process.
const PANIC_LINE_TIMEOUT: Duration = Duration::from_millis(50);

/// Starts the log of this process. Only the first call has an effect.
pub fn start_log(config: &Config) {
    let (filter, handle) = reload::Layer::new(lines_of(config.log_level));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(queue().clone())
        // Reporting them would write to standard error, which may block.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let text = match config.log_format {
        LogFormat::Auto => stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let log = tracing_subscriber::registry().with(filter);
    let started = match text {
        true => log.with(layer).try_init(),
        false => log.with(layer.json().flatten_event(true)).try_init(),
    };
    // Fails only if a log was started before, as tests in one process do.
    if started.is_ok() {
        // Fails only if the log no longer exists.
        _ = SET_LEVEL.set(Box::new(move |level| _ = handle.reload(lines_of(level))));
    }
}

static QUEUE: OnceLock<LogQueue> = OnceLock::new();

fn queue() -> &'static LogQueue {
    QUEUE.get_or_init(|| {
        // A separate descriptor: a blocked write must not hold the lock of `stderr()`, which other code may use.
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
        METRICS.node.log_lines_dropped.inc_by(lines);
    }

    fn log_dropped(&self, lines: u64) {
        lines_dropped(lines);
    }
}

/// Log lines were dropped because standard error was not read, or not writable.
fn lines_dropped(lines: u64) {
    tracing::warn!(
        lines,
        "log lines were dropped here: standard error was not read, or not writable"
    );
}

/// Writes the process's last message after the log's lines, and waits a bounded time for it.
pub fn write_last_message(words: &str) {
    queue().push(format!("{words}\n").as_bytes());
    flush_log();
}

/// Waits a bounded time until the log is written. For the end of the process.
pub fn flush_log() {
    flush(LAST_LINES_TIMEOUT);
}

/// The same for a panic, which ends the process only if a second one follows.
pub(super) fn flush_panic() {
    flush(PANIC_LINE_TIMEOUT);
}

/// Lines not written by then are lost.
fn flush(timeout: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(timeout);
    }
}

/// Flushes the log when dropped, also when the main thread panics.
pub struct FlushLog;

impl Drop for FlushLog {
    fn drop(&mut self) {
        flush_log();
    }
}

/// The crates that export traces log a line for every frame of every request at `debug`. The export task
/// reports failures itself.
const EXPORTING: [&str; 5] = ["h2", "hyper", "opentelemetry", "tonic", "tower"];

fn lines_of(level: LevelFilter) -> Targets {
    let exporting = level.min(LevelFilter::ERROR);
    Targets::new().with_default(level).with_targets(EXPORTING.map(|name| (name, exporting)))
}

type SetLevel = Box<dyn Fn(LevelFilter) + Send + Sync>;

static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// From now on, logs warnings too: for a command that was quiet until it began its long-running work.
pub fn log_warnings() {
    set_log_level(LevelFilter::WARN);
}

/// Changes the level: less severe lines are not logged.
pub fn set_log_level(level: LevelFilter) {
    if let Some(set) = SET_LEVEL.get() {
        set(level);
    }
}
