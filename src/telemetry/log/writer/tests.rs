//! Lines that do not fit the queue, cannot be written, or are written to a non-blocking pipe.

use std::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// A pipe whose writes complete when the test sends their result.
struct Pipe {
    reads: mpsc::Receiver<io::Result<()>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Without a result it blocks, as a pipe without a reader does.
        self.reads.recv().unwrap_or(Ok(()))?;
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the report where the formatter would write it.
struct WrittenLine(Arc<Mutex<u64>>);

impl Report for WrittenLine {
    fn dropped(&self, lines: u64) {
        *self.0.lock().unwrap() += lines;
    }

    fn log_dropped(&self, lines: u64) {
        let line = format!("{lines} dropped\n");
        OWN.with_borrow_mut(|own| own.as_mut().unwrap().extend_from_slice(line.as_bytes()));
    }
}

struct LogFixture {
    queue: LogQueue,
    reader: mpsc::Sender<io::Result<()>>,
    written: Arc<Mutex<Vec<u8>>>,
    dropped: Arc<Mutex<u64>>,
}

fn stage() -> LogFixture {
    let (reader, reads) = mpsc::channel();
    let (written, dropped) = (Arc::default(), Arc::default());
    let pipe = Pipe { reads, written: Arc::clone(&written) };
    let queue = LogQueue::start(pipe, WrittenLine(Arc::clone(&dropped)));
    LogFixture { queue, reader, written, dropped }
}

#[test]
fn lines_that_do_not_fit_the_queue_are_counted_and_reported_in_their_place() {
    let LogFixture { queue, reader, written, dropped } = stage();
    // The writer takes the first line and blocks on it; the second fills the queue.
    queue.push(b"first\n");
    while !queue.0.lock().is_writing {
        thread::yield_now();
    }
    queue.push(&vec![b'x'; QUEUE_BYTES_MAX]);
    for _ in 0..3 {
        queue.push(b"lost\n");
    }
    assert_eq!(*dropped.lock().unwrap(), 3);
    assert!(!queue.flush(Duration::from_millis(1)), "the reader is away");
    drop(reader);
    assert!(queue.flush(LONG));
    queue.push(b"last\n");
    assert!(queue.flush(LONG));
    let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    let short = written.replace(&"x".repeat(QUEUE_BYTES_MAX), "long\n");
    assert_eq!(short, "first\nlong\n3 dropped\nlast\n");
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_reported_once_writing_works() {
    let LogFixture { queue, reader, written, dropped } = stage();
    reader.send(Err(ErrorKind::StorageFull.into())).unwrap();
    queue.push(b"lost\n");
    assert!(queue.flush(LONG));
    assert_eq!(*dropped.lock().unwrap(), 1);
    drop(reader);
    queue.push(b"written\n");
    assert!(queue.flush(LONG));
    assert_eq!(*written.lock().unwrap(), b"written\n1 dropped\n");
}

#[test]
fn a_pipe_made_non_blocking_loses_no_line() {
    let LogFixture { queue, reader, written, .. } = stage();
    for _ in 0..3 {
        reader.send(Err(ErrorKind::WouldBlock.into())).unwrap();
    }
    drop(reader);
    queue.push(b"line\n");
    assert!(queue.flush(LONG));
    assert_eq!(*written.lock().unwrap(), b"line\n");
}
