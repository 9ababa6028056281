//! curl as a client of HTTP/2.

use std::process::Stdio;

use testkit::authority::Authority;
use testkit::node::{Node, run_to_end};
use testkit::soon;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn curl_reads_an_event_stream_with_prior_knowledge() {
    let node = Node::standalone(&[]).await;
    let mut curl = Command::new("curl")
        .args(["-sN", "--include", "--http2-prior-knowledge"])
        .arg(format!("http://{}/sse/news", node.public))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("curl runs");
    let mut lines = BufReader::new(curl.stdout.take().expect("a pipe")).lines();
    let mut next = async || soon("a line", lines.next_line()).await.expect("text").expect("a line");
    assert_eq!(next().await.trim_end(), "HTTP/2 200");
    while !next().await.starts_with("retry: ") {}
    node.post("/api/publish/news", &[], b"hello").await;
    while next().await != "data: hello" {}
}

#[tokio::test]
async fn curl_negotiates_http_2_over_tls() {
    let authority = Authority::create();
    let node = crate::tls::node(&authority, &[]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("it is written");
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-s", option, "--cacert"]).arg(&ca);
        curl.args(["-o", "/dev/null", "-w", "%{http_version} %{http_code}"]);
        curl.arg(format!("https://localhost:{}/nothing", node.public.port()));
        let output = run_to_end(curl).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{version} 404"));
    }
}
