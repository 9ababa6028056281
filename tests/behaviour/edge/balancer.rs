//! Behind a real HAProxy.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;
use testkit::client::Client;
use testkit::eventually;
use testkit::http;
use testkit::node::Node;
use testkit::process::Process;
use testkit::raw::upgrade;
use testkit::redis::free_address;

/// HAProxy before a node. `server` is what it says of it beside the address.
struct Balancer {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Balancer {
    /// None: there is no HAProxy here.
    async fn before(node: &Node, mode: &str, server: &str) -> Option<Self> {
        if Command::new("haproxy").arg("-v").output().is_err() {
            eprintln!("skipped: haproxy is not on PATH");
            return None;
        }
        let (address, directory) = (free_address(), TempDir::new().expect("a directory"));
        let file = directory.path().join("haproxy.cfg");
        let configuration = format!(
            "defaults\n mode {mode}\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             listen node\n bind {address}\n {server}\n",
            server = server.replace("NODE", &node.public.to_string())
        );
        fs::write(&file, configuration).expect("the file can be written");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        let process = Process::spawn("haproxy", command);
        eventually("haproxy to listen", async || {
            tokio::net::TcpStream::connect(address).await.is_ok().then_some(())
        })
        .await;
        Some(Self { address, _process: process, _directory: directory })
    }

    /// The status of an upgrade by a client with this address.
    async fn status_from(&self, from: &str) -> u16 {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket
            .bind(format!("{from}:0").parse().expect("an address"))
            .expect("all of 127/8 is here");
        let mut stream = socket.connect(self.address).await.expect("haproxy listens");
        use tokio::io::AsyncWriteExt;
        // It may be refused before this is on its way.
        let _ = stream.write_all(upgrade("/ws/news", "").as_bytes()).await;
        http::response(&mut stream, &mut Vec::new()).await.status
    }
}

async fn tells_clients_apart(settings: &[&str], mode: &str, server: &str) {
    let mut all = vec!["limits.connections_per_ip=1"];
    all.extend_from_slice(settings);
    let node = Node::alone(&all).await;
    let Some(balancer) = Balancer::before(&node, mode, server).await else { return };
    // What was only a knock is over.
    eventually("the first to come in", async || {
        (balancer.status_from("127.0.0.3").await == 101).then_some(())
    })
    .await;
    for from in ["127.0.0.4", "127.0.0.5"] {
        assert_eq!(balancer.status_from(from).await, 101, "{from}");
    }
    let stays = Client::through(balancer.address, "/ws/news").await;
    let refused = eventually("one too many to be told", async || {
        let status = balancer.status_from("127.0.0.1").await;
        (status != 101).then_some(status)
    })
    .await;
    assert_eq!(refused, 429);
    stays.close().await;
}

#[tokio::test]
async fn that_sends_headers_of_version_2() {
    let settings = ["server.proxy_protocol=true", "server.trusted_proxies=127.0.0.0/30"];
    tells_clients_apart(&settings, "tcp", "server node NODE send-proxy-v2").await;
}

#[tokio::test]
async fn that_sends_headers_of_version_1() {
    tells_clients_apart(&["server.proxy_protocol=true"], "tcp", "server node NODE send-proxy")
        .await;
}

#[tokio::test]
async fn that_appends_to_x_forwarded_for() {
    let settings = ["server.trusted_proxies=127.0.0.1"];
    let server = "option forwardfor\n server node NODE source 127.0.0.1";
    tells_clients_apart(&settings, "http", server).await;
}
