//! A real HAProxy in front of the nodes: the ready node with the fewest connections gets the next client.

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

/// Its configuration, the same as in deploy/compose.yaml. `HAPROXY_CFG` names another file, which must contain
/// the same addresses: `:8080`, `node-1:8080` with its internal port 9090, and so on.
const CONFIGURATION: &str = "deploy/haproxy/haproxy.cfg";

/// The backend of the nodes, in the order of their numbers.
const BACKEND: &str = "nodes";

pub struct Balancer {
    /// The address to which clients connect.
    pub address: SocketAddr,
    /// The Unix socket of its statistics.
    admin: PathBuf,
    process: Process,
    _directory: TempDir,
}

/// The connection attempts that HAProxy repeated.
#[derive(Clone, Copy, Debug, Default)]
pub struct BalancerRetries {
    /// To the same node.
    pub retries: u64,
    /// To another node after a failed retry.
    pub redispatches: u64,
}

impl Balancer {
    pub fn is_installed() -> bool {
        Command::new("haproxy").arg("-v").output().is_ok()
    }

    /// Starts HAProxy for nodes with these public and internal addresses; waits until all of them are up.
    pub async fn in_front_of(nodes: &[(SocketAddr, SocketAddr)]) -> Self {
        let (address, directory) = (free_address(), TempDir::new().expect("a directory"));
        let admin = directory.path().join("admin");
        let configuration = configuration(address, nodes);
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
            let both = (TcpStream::connect(address).await, UnixStream::connect(&admin).await);
            (both.0.is_ok() && both.1.is_ok()).then_some(())
        })
        .await;
        let balancer = Self { address, admin, process, _directory: directory };
        for number in 0..nodes.len() {
            balancer.wait_until_up(number).await;
        }
        balancer
    }

    /// Waits until HAProxy sends clients to a node.
    pub async fn wait_until_up(&self, node: usize) {
        eventually("haproxy to use a node", async || {
            (self.field(node, "status").await == "UP").then_some(())
        })
        .await;
    }

    /// The open connections to a node.
    pub async fn connections(&self, node: usize) -> usize {
        self.number(node, "scur").await as usize
    }

    /// The sum over all nodes since the start.
    pub async fn retries(&self, nodes: usize) -> BalancerRetries {
        let mut retries = BalancerRetries::default();
        for node in 0..nodes {
            retries.retries += self.number(node, "wretr").await;
            retries.redispatches += self.number(node, "wredis").await;
        }
        retries
    }

    /// HAProxy's log, which reports nodes that went up or down.
    pub fn log(&self) -> Vec<String> {
        self.process.stderr()
    }

    async fn number(&self, node: usize, name: &str) -> u64 {
        self.field(node, name).await.parse().expect("a number")
    }

    /// One column of a node's row in HAProxy's statistics.
    async fn field(&self, node: usize, name: &str) -> String {
        let table = soon("haproxy's statistics", self.stats()).await;
        let mut lines = table.lines();
        let titles = lines.next().expect("a line of titles").trim_start_matches("# ");
        let column = titles.split(',').position(|it| it == name).expect("a column of that name");
        let mut rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
        let row = rows.by_ref().filter(|it| it[0] == BACKEND).nth(node).expect("a row for each");
        row[column].to_owned()
    }

    async fn stats(&self) -> String {
        let mut stream = UnixStream::connect(&self.admin).await.expect("haproxy runs");
        stream.write_all(b"show stat\n").await.expect("haproxy accepts a command");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("haproxy replies");
        text
    }
}

/// The configuration file with the addresses of this run.
fn configuration(address: SocketAddr, nodes: &[(SocketAddr, SocketAddr)]) -> String {
    let named = std::env::var("HAPROXY_CFG").unwrap_or_else(|_| CONFIGURATION.to_owned());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&named);
    let mut text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{named}: {error}"));
    let mut put = |old: &str, new: String| {
        assert!(text.contains(old), "{named} has no {old:?}");
        text = text.replace(old, &new);
    };
    put("bind :8080", format!("bind {address}"));
    for (number, (public, internal)) in (1..).zip(nodes) {
        let new = format!("{public} check port {}", internal.port());
        put(&format!("node-{number}:8080 check port 9090"), new);
    }
    // The port of HAProxy's own metrics, if the file has one.
    text.replace("bind :8405", &format!("bind {}", free_address()))
}
