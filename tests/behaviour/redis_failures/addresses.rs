//! Redis' name has several addresses, and the first swallows what is sent to it.

use std::io::Write as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::process::Command;

use socket2::{Domain, Socket, Type};
use testkit::client::Client;
use testkit::node::Node;
use testkit::redis::Redis;

use super::relays;

/// As many as stay without an answer whatever the system adds to the backlog.
const CONNECTIONS: usize = 8;

/// Nobody accepts at this port of the IPv6 loopback, and its backlog is full. Fails, saying why, where
/// there is none.
fn black_hole(port: u16) -> Result<Vec<Socket>, String> {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let socket = || Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
    let listener = socket();
    listener.bind(&address.into()).map_err(|error| format!("{address}: {error}"))?;
    listener.listen(1).expect("it listens");
    let mut all = vec![listener];
    for _ in 0..CONNECTIONS {
        let connection = socket();
        connection.set_nonblocking(true).expect("it does not wait");
        let _ = connection.connect(&address.into());
        all.push(connection);
    }
    Ok(all)
}

/// May this user mount anything, in a place of its own?
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

#[tokio::test]
async fn the_next_one_is_taken_while_the_first_is_silent() {
    let redis = Redis::start().await;
    let port = redis.address.port();
    let hole = match black_hole(port) {
        Ok(hole) if may_mount() => hole,
        Ok(_) => return eprintln!("skipped: this user may not mount a hosts file of its own"),
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut hosts = tempfile::NamedTempFile::new().expect("a file");
    // The system's resolver puts IPv6 first.
    hosts.write_all(b"::1 redis.test\n127.0.0.1 redis.test localhost\n").expect("it is written");
    let url = format!("redis://redis.test:{port}");
    let nodes = [
        Node::with_hosts(hosts.path(), &url, &[]).await,
        Node::with_hosts(hosts.path(), &url, &[]).await,
    ];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    let mut here = Client::subscribed(&nodes[0], "news").await;
    let mut there = Client::subscribed(&nodes[1], "news").await;
    relays(&mut here, &mut there, "news", "by the second address").await;
    drop(hole);
}

#[tokio::test]
async fn each_address_that_failed_is_told_with_what_happened_there() {
    let redis = Redis::stopped();
    let port = redis.address.port();
    let hole = match black_hole(port) {
        Ok(hole) if may_mount() => hole,
        Ok(_) => return eprintln!("skipped: this user may not mount a hosts file of its own"),
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut hosts = tempfile::NamedTempFile::new().expect("a file");
    hosts.write_all(b"::1 redis.test\n127.0.0.1 redis.test localhost\n").expect("it is written");
    let url = format!("redis://redis.test:{port}");
    let node = Node::with_hosts(hosts.path(), &url, &[]).await;
    let wanted = [
        format!("[::1]:{port}: no answer within"),
        format!("127.0.0.1:{port}: Connection refused"),
    ];
    testkit::eventually("both addresses to be told", async || {
        let told = node.get("/readyz").await.text();
        wanted.iter().all(|part| told.contains(part)).then_some(())
    })
    .await;
    drop(hole);
}
