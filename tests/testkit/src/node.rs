//! A node as a child process, on free ports.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::http::{self, Response};
use crate::process::{Process, Signal};
use crate::redis::Redis;
use crate::{eventually, soon};

pub struct Node {
    pub process: Process,
    pub public: SocketAddr,
    pub internal: SocketAddr,
}

impl Node {
    /// A single node with the memory broker.
    pub async fn standalone(settings: &[&str]) -> Self {
        let node = Self::start(settings).await;
        node.wait_until_ready().await;
        node
    }

    /// A node of a fleet.
    pub async fn on(redis: &Redis, settings: &[&str]) -> Self {
        let node = Self::start_on(redis, settings).await;
        node.wait_until_ready().await;
        node
    }

    /// A node of a fleet whose Redis may not be running yet; does not wait for it to be ready.
    pub async fn start_on(redis: &Redis, settings: &[&str]) -> Self {
        Self::start_at(&redis.url(), settings).await
    }

    /// A node of a fleet whose Redis is at `url`.
    pub async fn start_at(url: &str, settings: &[&str]) -> Self {
        let broker = format!("broker.url={url}");
        let mut all = vec![broker.as_str()];
        all.extend_from_slice(settings);
        Self::start(&all).await
    }

    /// A node with a configuration file; it may not be ready yet.
    pub async fn with_config_file(file: &Path, settings: &[&str]) -> Self {
        let mut command = tidegate(&["serve", "--config"]);
        command.arg(file);
        Self::spawn(command, settings).await
    }

    /// A node with a configuration file and one worker thread, so that a blocking call blocks the whole node.
    pub async fn with_one_worker(file: &Path) -> Self {
        let mut command = tidegate(&["serve", "--config"]);
        command.arg(file).env("TOKIO_WORKER_THREADS", "1");
        Self::spawn(command, &[]).await
    }

    /// A single node with these environment variables.
    pub async fn with_environment<const N: usize>(
        environment: [(&str, PathBuf); N],
        settings: &[&str],
    ) -> Self {
        let mut command = tidegate(&["serve"]);
        command.envs(environment);
        let node = Self::spawn(command, settings).await;
        node.wait_until_ready().await;
        node
    }

    /// A node with this open-file limit.
    pub async fn with_open_files(files: u64, file: &Path, settings: &[&str]) -> Self {
        let mut command = tidegate(&["serve", "--config"]);
        command.arg(file);
        let limit = Rlimit { current: Some(files), maximum: Some(files) };
        // SAFETY: between fork and exec there is one system call, and nothing is allocated.
        unsafe {
            command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?));
        }
        let node = Self::spawn(command, settings).await;
        node.wait_until_ready().await;
        node
    }

    /// A node with another hosts file, in its own mount namespace.
    pub async fn with_hosts(hosts: &Path, url: &str, settings: &[&str]) -> Self {
        let node = tidegate(&["serve"]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
        command.arg(hosts).arg(node.get_program()).args(node.get_args());
        for (name, _) in node.get_envs() {
            command.env_remove(name);
        }
        let broker = format!("broker.url={url}");
        Self::spawn(command, &[&[broker.as_str()], settings].concat()).await
    }

    async fn start(settings: &[&str]) -> Self {
        Self::spawn(tidegate(&["serve"]), settings).await
    }

    /// A node started from a terminal, and the terminal's other end.
    pub async fn at_terminal(settings: &[&str]) -> (Self, OwnedFd) {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("it can be used");
        let name = ptsname(&keyboard, Vec::new()).expect("it has a name");
        let name = name.to_str().expect("it is text");
        let input = File::options().read(true).write(true).open(name).expect("it opens");
        let node = Self::spawn_with_input(tidegate(&["serve"]), settings, input.into()).await;
        node.wait_until_ready().await;
        (node, keyboard)
    }

    async fn spawn(command: Command, settings: &[&str]) -> Self {
        Self::spawn_with_input(command, settings, Stdio::null()).await
    }

    async fn spawn_with_input(mut command: Command, settings: &[&str], input: Stdio) -> Self {
        for setting in ["server.listen=127.0.0.1:0", "internal.listen=127.0.0.1:0"] {
            command.arg("--set").arg(setting);
        }
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        let mut process = Process::spawn_with_input("tidegate serve", command, input);
        let (public, internal) = eventually("a node to listen", async || {
            assert!(process.exit_status().is_none(), "the node ended instead of listening");
            process.stderr().iter().find_map(|line| addresses(line))
        })
        .await;
        Self { process, public, internal }
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub async fn wait_until_ready(&self) {
        eventually("a node to be ready", async || self.is_ready().await.then_some(())).await;
    }

    pub async fn wait_until_unready(&self) {
        eventually("a node to be unready", async || (!self.is_ready().await).then_some(())).await;
    }

    pub async fn is_ready(&self) -> bool {
        match self.get("/readyz").await.status {
            200 => true,
            503 => false,
            other => panic!("/readyz answered {other}"),
        }
    }

    /// Requests a path of the internal listener.
    pub async fn get(&self, path: &str) -> Response {
        http::get(self.internal, path).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        http::request(self.internal, "POST", path, headers, body).await
    }

    /// A metric's value, summed over its labels; `name{label="…"}` asks for one sample.
    pub async fn metric(&self, name: &str) -> f64 {
        let [value] = metrics(self.internal, [name]).await;
        value
    }

    /// Waits for a metric to reach a value.
    pub async fn wait_for_metric(&self, name: &str, value: f64) {
        let what = format!("{name} to be {value}");
        eventually(&what, async || (self.metric(name).await == value).then_some(())).await;
    }
}

/// Several of a node's metrics at one moment, each summed over its labels.
pub async fn metrics<const N: usize>(internal: SocketAddr, names: [&str; N]) -> [f64; N] {
    let text = http::get(internal, "/metrics").await.text();
    names.map(|name| {
        let values: Vec<f64> = text.lines().filter_map(|line| sample(line, name)).collect();
        assert!(!values.is_empty(), "/metrics has no {name}");
        values.iter().sum()
    })
}

/// The `tidegate` command without `TIDEGATE_` variables of the test's environment.
pub fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// The binary that was built with the tests: from cargo's variable, or next to the test binaries.
pub fn binary() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_tidegate").map_or_else(beside_tests, PathBuf::from)
}

/// From `target/debug/deps/behaviour-…` to `target/debug/tidegate`.
fn beside_tests() -> PathBuf {
    let tests = std::env::current_exe().expect("the running program has a path");
    let built =
        tests.parent().and_then(Path::parent).expect("tests lie in a folder of the build's");
    built.join("tidegate")
}

/// Runs a command until it ends.
pub async fn run_to_end(command: Command) -> Output {
    let mut command = tokio::process::Command::from(command);
    soon("tidegate to end", command.kill_on_drop(true).output()).await.expect("tidegate starts")
}

/// The addresses in the log line about listening, in either format.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let json: Option<Value> = serde_json::from_str(line).ok();
    let address = |key: &str| match &json {
        Some(json) => json[key].as_str()?.parse().ok(),
        None => {
            line.split(' ').find_map(|it| it.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
        }
    };
    line.contains("listening").then_some((address("public")?, address("internal")?))
}

fn sample(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse().ok())?
}
