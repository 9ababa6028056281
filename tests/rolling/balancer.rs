//! A real HAProxy before the nodes: whoever is ready and has the fewest connections gets the next client.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use testkit::process::Process;
use testkit::redis::free_address;
use testkit::{eventually, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// What it is told: the same as in deploy/compose.yaml. `HAPROXY_CFG` names another file, with the same
/// addresses in it: `:8080`, `node-1:8080` with its internal port 9090, and so on.
const CONFIGURATION: &str = "deploy/haproxy/haproxy.cfg";

/// The backend of the nodes, in the order of their numbers.
const BACKEND: &str = "nodes";

pub struct Balancer {
    /// Where clients come in.
    pub front: SocketAddr,
    /// Of its own account of itself.
    admin: PathBuf,
    process: Process,
    _directory: TempDir,
}

/// What it had to do more than once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retries {
    /// Connecting to a node.
    pub retries: u64,
    /// Choosing another node after that.
    pub redispatches: u64,
}

impl Balancer {
    pub fn is_installed() -> bool {
        Command::new("haproxy").arg("-v").output().is_ok()
    }

    /// Before nodes with these public and internal addresses; waits until it knows them all as ready.
    pub async fn in_front_of(nodes: &[(SocketAddr, SocketAddr)]) -> Self {
        let (front, directory) = (free_address(), TempDir::new().expect("a directory"));
        let admin = directory.path().join("admin");
        let configuration = configuration(front, nodes);
        let files = [
            ("haproxy.cfg", configuration),
            ("admin.cfg", format!("global\n stats socket {} level user\n", admin.display())),
        ];
        let mut command = Command::new("haproxy");
        command.arg("-db");
        for (name, text) in files {
            let file = directory.path().join(name);
            fs::write(&file, text).expect("the file is written");
            command.arg("-f").arg(file);
        }
        let mut process = Process::spawn("haproxy", command);
        eventually("haproxy to listen", async || {
            assert!(process.exit_status().is_none(), "haproxy: {}", process.stderr().join("\n"));
            let both = (TcpStream::connect(front).await, UnixStream::connect(&admin).await);
            (both.0.is_ok() && both.1.is_ok()).then_some(())
        })
        .await;
        let balancer = Self { front, admin, process, _directory: directory };
        for number in 0..nodes.len() {
            balancer.wait_until_up(number).await;
        }
        balancer
    }

    /// Waits until it sends clients to a node.
    pub async fn wait_until_up(&self, node: usize) {
        eventually("haproxy to take a node in", async || {
            (self.field(node, "status").await == "UP").then_some(())
        })
        .await;
    }

    /// The connections to a node that are open now.
    pub async fn connections(&self, node: usize) -> usize {
        self.number(node, "scur").await as usize
    }

    /// Summed over all nodes, since it began.
    pub async fn trouble(&self, nodes: usize) -> Retries {
        let mut trouble = Retries::default();
        for node in 0..nodes {
            trouble.retries += self.number(node, "wretr").await;
            trouble.redispatches += self.number(node, "wredis").await;
        }
        trouble
    }

    /// What it said of nodes that came and went.
    pub fn log(&self) -> Vec<String> {
        self.process.stderr()
    }

    async fn number(&self, node: usize, name: &str) -> u64 {
        self.field(node, name).await.parse().expect("a number")
    }

    /// What it says of a node, as a table with titles: one column of one row.
    async fn field(&self, node: usize, name: &str) -> String {
        let table = soon("haproxy's own account", self.stats()).await;
        let mut lines = table.lines();
        let titles = lines.next().expect("a line of titles").trim_start_matches("# ");
        let column = titles.split(',').position(|it| it == name).expect("a column of that name");
        let mut rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
        let row = rows.by_ref().filter(|it| it[0] == BACKEND).nth(node).expect("a row for each");
        row[column].to_owned()
    }

    async fn stats(&self) -> String {
        let mut stream = UnixStream::connect(&self.admin).await.expect("haproxy runs");
        stream.write_all(b"show stat\n").await.expect("it takes a question");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("it answers");
        text
    }
}

/// The file, with addresses of this run.
fn configuration(front: SocketAddr, nodes: &[(SocketAddr, SocketAddr)]) -> String {
    let named = std::env::var("HAPROXY_CFG").unwrap_or_else(|_| CONFIGURATION.to_owned());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&named);
    let mut text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{named}: {error}"));
    let mut put = |old: &str, new: String| {
        assert!(text.contains(old), "{named} has no {old:?}");
        text = text.replace(old, &new);
    };
    put("bind :8080", format!("bind {front}"));
    for (number, (public, internal)) in (1..).zip(nodes) {
        let new = format!("{public} check port {}", internal.port());
        put(&format!("node-{number}:8080 check port 9090"), new);
    }
    // Of a file that has it: HAProxy's own metrics.
    text.replace("bind :8405", &format!("bind {}", free_address()))
}
