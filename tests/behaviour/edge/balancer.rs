//! A node behind a real HAProxy.

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

/// HAProxy before a node.
struct Balancer {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Balancer {
    /// `server` holds HAProxy's configuration lines for the node, with `NODE` for its address. None: HAProxy is not
    /// installed.
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
            .expect("all of 127/8 is local");
        let mut stream = socket.connect(self.address).await.expect("haproxy listens");
        use tokio::io::AsyncWriteExt;
        // The node may refuse the connection before it has read the request.
        let _ = stream.write_all(upgrade("/ws/news", "").as_bytes()).await;
        http::response(&mut stream, &mut Vec::new()).await.status
    }
}

async fn assert_clients_distinguished(settings: &[&str], mode: &str, server: &str) {
    let mut all = vec!["limits.connections_per_ip=1"];
    all.extend_from_slice(settings);
    let node = Node::standalone(&all).await;
    let Some(balancer) = Balancer::before(&node, mode, server).await else { return };
    // The connection that only probed whether HAProxy listens may still count for 127.0.0.1.
    eventually("the first client to be accepted", async || {
        (balancer.status_from("127.0.0.3").await == 101).then_some(())
    })
    .await;
    for from in ["127.0.0.4", "127.0.0.5"] {
        assert_eq!(balancer.status_from(from).await, 101, "{from}");
    }
    let open = Client::open_at(balancer.address, "/ws/news").await;
    let refused = eventually("a second connection of a client to be refused", async || {
        let status = balancer.status_from("127.0.0.1").await;
        (status != 101).then_some(status)
    })
    .await;
    assert_eq!(refused, 429);
    open.close().await;
}

#[tokio::test]
async fn a_node_tells_clients_apart_by_haproxys_proxy_headers_of_version_2() {
    let settings = ["server.proxy_protocol=true", "server.trusted_proxies=127.0.0.0/30"];
    assert_clients_distinguished(&settings, "tcp", "server node NODE send-proxy-v2").await;
}

#[tokio::test]
async fn a_node_tells_clients_apart_by_haproxys_proxy_headers_of_version_1() {
    assert_clients_distinguished(
        &["server.proxy_protocol=true"],
        "tcp",
        "server node NODE send-proxy",
    )
    .await;
}

#[tokio::test]
async fn a_node_tells_clients_apart_by_haproxys_x_forwarded_for() {
    let settings = ["server.trusted_proxies=127.0.0.1"];
    let server = "option forwardfor\n server node NODE source 127.0.0.1";
    assert_clients_distinguished(&settings, "http", server).await;
}
