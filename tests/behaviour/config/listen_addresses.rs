//! `localhost:PORT` and `:PORT`: both IP families at once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use testkit::http;
use testkit::node::Node;

use super::{run, stderr};

/// Whether the host supports IPv6.
fn has_ipv6() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The loopback addresses of the IP families that the host supports.
fn loopback(port: u16) -> Vec<SocketAddr> {
    let second = has_ipv6().then(|| (Ipv6Addr::LOCALHOST, port).into());
    [Some((Ipv4Addr::LOCALHOST, port).into()), second].into_iter().flatten().collect()
}

#[tokio::test]
async fn localhost_and_a_bare_port_are_bound_in_both_ip_families() {
    for listen in ["localhost:0", ":0"] {
        let settings = [
            &format!("server.listen={listen}")[..],
            &format!("internal.listen={listen}"),
            "auth.mode=none",
            "internal.api_key=hush-hush",
        ];
        let node = Node::standalone(&settings).await;
        for address in loopback(node.internal.port()) {
            assert_eq!(http::get(address, "/healthz").await.status, 200, "{listen}: {address}");
        }
        for address in loopback(node.public.port()) {
            // A 404 shows that the public listener answers.
            assert_eq!(http::get(address, "/nowhere").await.status, 404, "{listen}: {address}");
        }
        let setting =
            format!("internal.listen={}", listen.replace('0', &node.internal.port().to_string()));
        let ended = run(&["health", "--set", &setting], &[]).await;
        assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    }
}

#[tokio::test]
async fn a_bare_port_requires_auth_mode_none_written_out_and_localhost_does_not() {
    let open = ["check", "--set", "server.listen=:8080"];
    let ended = run(&open, &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    let fault = stderr(&ended);
    assert!(fault.contains("auth.mode") && fault.contains("server.listen = :8080"), "{fault}");
    assert_eq!(
        run(&[&open[..], &["--set", "auth.mode=none"]].concat(), &[]).await.status.code(),
        Some(0)
    );
    let local = run(&["check", "--set", "server.listen=localhost:8080"], &[]).await;
    assert_eq!(local.status.code(), Some(0), "{}", stderr(&local));
    assert!(String::from_utf8_lossy(&local.stdout).contains("listen = \"localhost:8080\""));
}

#[tokio::test]
async fn two_listeners_on_one_port_are_a_fault_in_every_notation() {
    let both = ["--set", "server.listen=localhost:9090", "--set", "internal.listen=127.0.0.1:9090"];
    let ended = run(&[&["check"], &both[..]].concat(), &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("must be another address"), "{}", stderr(&ended));
}

#[tokio::test]
async fn other_host_names_and_bare_numbers_are_faults_that_name_an_allowed_address() {
    for listen in ["example.com:8080", "8080", "localhost", "*:8080", ":99999"] {
        let ended = run(&["check", "--set", &format!("server.listen={listen}")], &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{listen}");
        assert!(stderr(&ended).contains("localhost:8080"), "{}", stderr(&ended));
    }
}
