//! A child process: its output is kept, and it ends when this value is dropped.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex, mpsc};
use std::thread::{self, JoinHandle};

use rustix::process::{
    Pid, Resource, Rlimit, getrlimit, kill_process, prlimit, set_parent_process_death_signal,
};

pub use rustix::process::Signal;

use crate::eventually;

pub struct Process {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
    /// The thread that reads standard error. It ends once the process and all that inherited its standard error have ended.
    reader: JoinHandle<()>,
    /// Whether reading standard error is paused.
    paused: Paused,
}

type Lines = Arc<Mutex<Vec<String>>>;
type Paused = Arc<(Mutex<bool>, Condvar)>;

impl Process {
    /// It also ends when this process does, so that nothing outlives tests that are killed.
    pub fn spawn(name: &str, command: Command) -> Self {
        Self::spawn_with_input(name, command, Stdio::null())
    }

    /// The same, with this as its standard input.
    pub fn spawn_with_input(name: &str, mut command: Command, input: Stdio) -> Self {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            start(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let unread = Paused::default();
        let (stdout, _) =
            lines_of(child.stdout.take().expect("stdout is piped"), Paused::default());
        let (stderr, reader) =
            lines_of(child.stderr.take().expect("stderr is piped"), unread.clone());
        Self { name: name.to_owned(), child, stdout, stderr, reader, paused: unread }
    }

    /// Pauses or continues reading standard error, a pipe that eventually fills up.
    pub fn pause_stderr(&self, unread: bool) {
        *self.paused.0.lock().unwrap() = unread;
        self.paused.1.notify_all();
    }

    /// The lines printed so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until standard error contains all these texts, and returns it. A node's log is written by a task of its own, after the metric of
    /// what it tells.
    pub async fn wait_for_stderr(&self, texts: &[&str]) -> String {
        eventually(&format!("{texts:?} in the log of {}", self.name), async || {
            let log = self.stderr().join("\n");
            texts.iter().all(|text| log.contains(text)).then_some(log)
        })
        .await
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal)
            .unwrap_or_else(|error| panic!("signalling {}: {error}", self.name));
    }

    /// Limits the number of open files from now on; files that are open stay open.
    pub fn limit_open_files(&self, files: u64) {
        let pid = Pid::from_child(&self.child);
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(files), maximum })
            .unwrap_or_else(|error| panic!("limiting {}: {error}", self.name));
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// The exit code; panics if a signal ended it.
    pub async fn exit_code(&mut self) -> i32 {
        let what = format!("{} to end", self.name);
        let status = eventually(&what, async || self.exit_status()).await;
        // All that it wrote is read, unless reading is paused.
        eventually(&format!("the output of {}", self.name), async || {
            let is_paused = *self.paused.0.lock().unwrap();
            (is_paused || self.reader.is_finished()).then_some(())
        })
        .await;
        status.code().unwrap_or_else(|| panic!("{} ended by {status}", self.name))
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        // Fails only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- stderr of {}:", self.name);
            self.stderr().iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Starts it from a permanent thread, not the test's own: the parent-death signal kills a child when the
/// thread that started it ends, and shared processes outlive the test that started them.
fn start(mut command: Command) -> io::Result<Child> {
    type SpawnRequest = (Command, mpsc::Sender<io::Result<Child>>);
    static ORDERS: LazyLock<mpsc::Sender<SpawnRequest>> = LazyLock::new(|| {
        let (orders, taken) = mpsc::channel::<SpawnRequest>();
        thread::spawn(move || {
            for (mut command, answer) in taken {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    // SAFETY: between fork and exec there is one system call, and nothing is allocated.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let (answer, child) = mpsc::channel();
    ORDERS.send((command, answer)).expect("the thread is permanent");
    child.recv().expect("every order is answered")
}

fn lines_of(output: impl Read + Send + 'static, unread: Paused) -> (Lines, JoinHandle<()>) {
    let lines = Lines::default();
    let kept = lines.clone();
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            kept.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            drop(unread.1.wait_while(unread.0.lock().unwrap(), |unread| *unread));
        }
    });
    (lines, reader)
}
