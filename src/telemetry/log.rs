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
use super::config::{Config, LogFormat};
use super::metrics::METRICS;

/// How long the end of a process waits for its last lines to be written.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a panic waits for its line to be written: another panic may follow that ends the process.
const PANIC_LINE_TIMEOUT: Duration = Duration::from_millis(50);

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
        LogFormat::Auto => stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
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
        METRICS.node.log_lines_dropped.inc_by(lines);
    }

    fn tell(&self, lines: u64) {
        lines_dropped(lines);
    }
}

/// Log lines were dropped while standard error was not read, or could not be written to.
fn lines_dropped(lines: u64) {
    tracing::warn!(
        lines,
        "log lines were dropped here: standard error was not read, or not writable"
    );
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
/// is told by the exporting of traces.
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
