//! The host name of Redis has several addresses, and the first does not answer.

use std::io::Write as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::process::Command;

use socket2::{Domain, Socket, Type};
use testkit::client::Client;
use testkit::node::Node;
use testkit::redis::Redis;

use super::assert_relayed;

/// More connections than the system's backlog accepts, so that the next one gets no answer.
const CONNECTIONS: usize = 8;

/// A listener on this port of the IPv6 loopback that never accepts and whose backlog is full. Fails with the reason
/// where there is no IPv6.
fn black_hole(port: u16) -> Result<Vec<Socket>, String> {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let socket = || Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
    let listener = socket();
    listener.bind(&address.into()).map_err(|error| format!("{address}: {error}"))?;
    listener.listen(1).expect("the socket listens");
    let mut all = vec![listener];
    for _ in 0..CONNECTIONS {
        let connection = socket();
        connection.set_nonblocking(true).expect("the socket becomes non-blocking");
        let _ = connection.connect(&address.into());
        all.push(connection);
    }
    Ok(all)
}

/// Whether this user may mount files in a mount namespace of its own.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

#[tokio::test]
async fn a_node_connects_to_the_second_address_of_redis_when_the_first_does_not_answer() {
    let redis = Redis::start().await;
    let port = redis.address.port();
    let hole = match black_hole(port) {
        Ok(hole) if may_mount() => hole,
        Ok(_) => return eprintln!("skipped: this user may not mount a hosts file of its own"),
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut hosts = tempfile::NamedTempFile::new().expect("a file");
    // The system's resolver puts IPv6 first.
    hosts
        .write_all(b"::1 redis.test\n127.0.0.1 redis.test localhost\n")
        .expect("the file is written");
    let url = format!("redis://redis.test:{port}");
    let nodes = [
        Node::with_hosts(hosts.path(), &url, &[]).await,
        Node::with_hosts(hosts.path(), &url, &[]).await,
    ];
    for node in &nodes {
        node.wait_until_ready().await;
    }
    let mut client_a = Client::subscribed(&nodes[0], "news").await;
    let mut client_b = Client::subscribed(&nodes[1], "news").await;
    assert_relayed(&mut client_a, &mut client_b, "news", "by the second address").await;
    drop(hole);
}

#[tokio::test]
async fn readyz_names_each_failed_address_of_redis_with_its_error() {
    let redis = Redis::stopped();
    let port = redis.address.port();
    let hole = match black_hole(port) {
        Ok(hole) if may_mount() => hole,
        Ok(_) => return eprintln!("skipped: this user may not mount a hosts file of its own"),
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut hosts = tempfile::NamedTempFile::new().expect("a file");
    hosts
        .write_all(b"::1 redis.test\n127.0.0.1 redis.test localhost\n")
        .expect("the file is written");
    let url = format!("redis://redis.test:{port}");
    let node = Node::with_hosts(hosts.path(), &url, &[]).await;
    let expected = [
        format!("[::1]:{port}: no answer within"),
        format!("127.0.0.1:{port}: Connection refused"),
    ];
    testkit::eventually("both addresses in the reasons", async || {
        let reasons = node.get("/readyz").await.text();
        expected.iter().all(|part| reasons.contains(part)).then_some(())
    })
    .await;
    drop(hole);
}
