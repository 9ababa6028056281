//! Writes log lines to standard error: a bounded queue, and a thread that writes. Standard error may be a pipe
//! that is not read; a write to it then blocks, and a blocked runtime thread serves no client.
//!
//! Not `tracing-appender`: its queue is bounded in lines, which can be of any size; it flushes only when a guard is
//! dropped, which an abort does not do; and it does not report what it dropped.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most bytes of queued log lines. In bytes, because the bound is for memory.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// The capacity that an empty queue keeps, in bytes.
const QUEUE_BYTES_SPARE: usize = 64 << 10;

/// How long the writer waits if standard error is non-blocking and full.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Callbacks of the writer thread.
pub trait Report: Send + 'static {
    /// Lines were dropped: the queue was full, or writing failed.
    fn dropped(&self, lines: u64);

    /// Writing works again after this many dropped lines. Logs one line about it.
    fn log_dropped(&self, lines: u64);
}

/// The queue of the writer thread. Clones share it.
#[derive(Clone)]
pub struct LogQueue(Arc<LogShared>);

struct LogShared {
    state: Mutex<LogState>,
    /// Signalled when there is something to write.
    filled: Condvar,
    /// Signalled when everything is written.
    emptied: Condvar,
    report: Box<dyn Report + Sync>,
}

#[derive(Default)]
struct LogState {
    bytes: Vec<u8>,
    lines: u64,
    /// Lines dropped because the queue was full, since the writer last took lines.
    dropped: u64,
    is_writing: bool,
}

thread_local! {
    /// `Some` on the writer thread: its own lines bypass the queue, which may be full.
    static OWN: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

impl LogQueue {
    /// Starts the thread that writes to `output`.
    pub fn start(output: impl Write + Send + 'static, report: impl Report + Sync) -> Self {
        let queue = Self(Arc::new(LogShared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            report: Box::new(report),
        }));
        let shared = queue.0.clone();
        let writer = thread::Builder::new().name("log".into());
        let started = writer.spawn(move || shared.write_to(output));
        started.expect("the system has a thread for the log, as it must have for the runtime");
        queue
    }

    /// Queues one line. Never waits: if the queue is full, the line is dropped and counted.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.bytes.len() + line.len() > QUEUE_BYTES_MAX {
            state.dropped += 1;
            self.0.report.dropped(1);
        } else {
            state.bytes.extend_from_slice(line);
            state.lines += 1;
        }
        if !state.is_writing {
            self.0.filled.notify_one();
        }
    }

    /// Waits up to `timeout` until everything is written. Returns false on timeout.
    pub fn flush(&self, timeout: Duration) -> bool {
        let waits = |state: &mut LogState| state.is_pending() || state.is_writing;
        let waited = self.0.emptied.wait_timeout_while(self.0.lock(), timeout, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl LogShared {
    fn write_to(&self, mut output: impl Write) {
        OWN.set(Some(Vec::new()));
        let mut bytes = Vec::new();
        // Dropped lines not yet reported.
        let mut untold = 0;
        loop {
            let (lines, dropped) = self.take(&mut bytes);
            match write_all(&mut output, &bytes) {
                Ok(()) => untold += dropped,
                Err(_) => {
                    // The reason cannot be logged, because writing the log failed.
                    self.report.dropped(lines);
                    untold += dropped + lines;
                    continue;
                }
            }
            if untold > 0 {
                self.report.log_dropped(untold);
                let own = OWN.replace(Some(Vec::new())).unwrap_or_default();
                if write_all(&mut output, &own).is_ok() {
                    untold = 0;
                }
            }
        }
    }

    /// Waits for lines to write and moves them into `bytes`. Returns how many these are, and how many were dropped
    /// after them.
    fn take(&self, bytes: &mut Vec<u8>) -> (u64, u64) {
        bytes.clear();
        bytes.shrink_to(QUEUE_BYTES_SPARE);
        let mut state = self.lock();
        state.is_writing = false;
        if !state.is_pending() {
            self.emptied.notify_all();
        }
        let waited = self.filled.wait_while(state, |state| !state.is_pending());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::swap(bytes, &mut state.bytes);
        (std::mem::take(&mut state.lines), std::mem::take(&mut state.dropped))
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        // Every code path that releases the lock leaves the state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogState {
    fn is_pending(&self) -> bool {
        !self.bytes.is_empty() || self.dropped > 0
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, no worker of the runtime, sleeps"
)]
fn wait_for_room() {
    thread::sleep(RETRY_INTERVAL);
}

/// Like [`Write::write_all`], but retries if the other end has made the pipe non-blocking.
fn write_all(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait_for_room(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Write for &LogQueue {
    /// Accepts a whole line: the formatter writes each in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let take = |own: &RefCell<Option<Vec<u8>>>| {
            own.borrow_mut().as_mut().map(|own| own.extend_from_slice(line)).is_some()
        };
        // A thread may log during its exit, after its thread-locals are destroyed.
        if !OWN.try_with(take).unwrap_or(false) {
            self.push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests;
