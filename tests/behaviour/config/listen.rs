//! `localhost:PORT` and `:PORT`: both IP families at once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use testkit::http;
use testkit::node::Node;

use super::{run, stderr};

/// Does the host have IPv6 at all?
fn has_ipv6() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The addresses of loopback, in both families where there are two.
fn loopback(port: u16) -> Vec<SocketAddr> {
    let second = has_ipv6().then(|| (Ipv6Addr::LOCALHOST, port).into());
    [Some((Ipv4Addr::LOCALHOST, port).into()), second].into_iter().flatten().collect()
}

#[tokio::test]
async fn a_name_and_a_bare_port_are_listened_on_in_both_families() {
    for listen in ["localhost:0", ":0"] {
        let settings = [
            &format!("server.listen={listen}")[..],
            &format!("internal.listen={listen}"),
            "auth.mode=none",
            "internal.api_key=hush-hush",
        ];
        let node = Node::alone(&settings).await;
        for address in loopback(node.internal.port()) {
            assert_eq!(http::get(address, "/healthz").await.status, 200, "{listen}: {address}");
        }
        for address in loopback(node.public.port()) {
            // A request that is none of the node's is answered all the same.
            assert_eq!(http::get(address, "/nowhere").await.status, 404, "{listen}: {address}");
        }
        let asked =
            format!("internal.listen={}", listen.replace('0', &node.internal.port().to_string()));
        let ended = run(&["health", "--set", &asked], &[]).await;
        assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    }
}

#[tokio::test]
async fn every_address_without_authentication_must_be_asked_for_and_localhost_need_not() {
    let open = ["check", "--set", "server.listen=:8080"];
    let ended = run(&open, &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    let said = stderr(&ended);
    assert!(said.contains("auth.mode") && said.contains("server.listen = :8080"), "{said}");
    assert_eq!(
        run(&[&open[..], &["--set", "auth.mode=none"]].concat(), &[]).await.status.code(),
        Some(0)
    );
    let local = run(&["check", "--set", "server.listen=localhost:8080"], &[]).await;
    assert_eq!(local.status.code(), Some(0), "{}", stderr(&local));
    assert!(String::from_utf8_lossy(&local.stdout).contains("listen = \"localhost:8080\""));
}

#[tokio::test]
async fn two_listeners_on_one_port_are_a_fault_however_they_are_written() {
    let both = ["--set", "server.listen=localhost:9090", "--set", "internal.listen=127.0.0.1:9090"];
    let ended = run(&[&["check"], &both[..]].concat(), &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("must be another address"), "{}", stderr(&ended));
}

#[tokio::test]
async fn other_names_and_bare_numbers_are_refused_with_what_is_allowed() {
    for listen in ["example.com:8080", "8080", "localhost", "*:8080", ":99999"] {
        let ended = run(&["check", "--set", &format!("server.listen={listen}")], &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{listen}");
        assert!(stderr(&ended).contains("localhost:8080"), "{}", stderr(&ended));
    }
}
