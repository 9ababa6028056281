//! What a node does when its log, a file or a name server does not answer: it serves on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use serde_json::{Value, json};
use testkit::client::Client;
use testkit::node::{Node, run_to_end, tidegate};
use testkit::process::Signal;
use testkit::raw::RawClient;
use testkit::{eventually, soon};

const DROPPED: &str = "tidegate_log_lines_dropped_total";

/// Makes a node log more than there is room for while standard error is not read.
async fn log_is_full(node: &Node) {
    node.process.pause_stderr(true);
    let mut raw = RawClient::connect(node).await;
    eventually("log lines to be dropped", async || {
        for _ in 0..200 {
            raw.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").await;
        }
        for _ in 0..200 {
            assert_eq!(raw.response().await.status, 404);
        }
        (node.metric(DROPPED).await > 0.).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_no_node_up() {
    let node = Node::standalone(&["telemetry.log_level=trace"]).await;
    assert_eq!(node.metric(DROPPED).await, 0.);
    log_is_full(&node).await;
    assert_eq!(node.get("/healthz").await.status, 200);
    let mut clients = Vec::new();
    for _ in 0..17 {
        let mut client = Client::json(&node).await;
        let pong = client.request(json!({"type": "ping", "id": 1})).await;
        assert_eq!(pong, json!({"type": "pong", "id": 1}));
        clients.push(client);
    }
    node.process.pause_stderr(false);
    let told = eventually("the node to tell what it dropped", async || {
        let told: Vec<Value> = node
            .process
            .stderr()
            .iter()
            .filter(|line| line.contains("log lines were dropped"))
            .map(|line| serde_json::from_str(line).expect("it is a line as the others"))
            .collect();
        (!told.is_empty()).then_some(told)
    })
    .await;
    assert_eq!(told.len(), 1, "in one line: {told:?}");
    assert_eq!(told[0]["lines"].as_f64(), Some(node.metric(DROPPED).await));
    node.signal(Signal::HUP);
    eventually("the log to go on", async || {
        node.process.stderr().iter().any(|line| line.contains("SIGHUP")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_log_nobody_reads_drains_and_ends_in_time() {
    let mut node =
        Node::standalone(&["telemetry.log_level=trace", "drain.delay=0s", "drain.period=100ms"])
            .await;
    let mut client = Client::plain(&node, "news").await;
    log_is_full(&node).await;
    node.signal(Signal::TERM);
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_configuration_error_is_no_reason_to_wait_for_ever() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fill(&mut writer);
    let mut command = tidegate(&["serve", "--set", "no.such=key"]);
    command.stdout(Stdio::null()).stderr(writer);
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let status = soon("tidegate to end", child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(2));
    drop(reader);
}

#[tokio::test]
async fn the_last_lines_are_written_before_it_ends() {
    let faulty = run_to_end(tidegate(&["serve", "--set", "no.such=key"])).await;
    assert!(String::from_utf8_lossy(&faulty.stderr).contains("no.such"));
    let ended = |node: Node, last: &'static str| async move {
        eventually(last, async || {
            node.process.stderr().iter().any(|line| line.contains(last)).then_some(())
        })
        .await;
    };
    let mut node = Node::standalone(&["drain.delay=0s"]).await;
    node.signal(Signal::TERM);
    assert_eq!(node.process.exit_code().await, 0);
    ended(node, "\"stopped\"").await;
    let mut node = Node::standalone(&["drain.delay=1h"]).await;
    node.signal(Signal::TERM);
    node.wait_until_unready().await;
    node.signal(Signal::TERM);
    assert_eq!(node.process.exit_code().await, 1);
    ended(node, "stopped at once").await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_to_its_end_holds_up_only_the_reload() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, "[drain]\ndelay = \"0s\"\nperiod = \"100ms\"\n").unwrap();
    let mut node = Node::with_one_worker(&file).await;
    node.wait_until_ready().await;
    let mut client = Client::json(&node).await;
    // Reading a pipe waits for its other end, as reading a file waits for a server that is away.
    let pipe = directory.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there");
    assert!(made.success());
    std::fs::rename(&pipe, &file).unwrap();
    let held = eventually("the node to read the file", async || write_end(&file)).await;
    let pong = client.request(json!({"type": "ping", "id": 1})).await;
    assert_eq!(pong, json!({"type": "pong", "id": 1}));
    assert_eq!(node.get("/healthz").await.status, 200);
    node.signal(Signal::TERM);
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
    drop(held);
}

/// Of a pipe that somebody reads.
fn write_end(pipe: &std::path::Path) -> Option<File> {
    let opened = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(pipe);
    match opened {
        Ok(file) => Some(file),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => None,
        Err(error) => panic!("the pipe opens: {error}"),
    }
}

const O_NONBLOCK: i32 = 0o4000;

/// Writes until there is no room.
fn fill(pipe: &mut std::io::PipeWriter) {
    // A second description of the same pipe, so that the child's own is blocking.
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut other =
        OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path).expect("it opens again");
    loop {
        match other.write(&[b'.'; 1]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the pipe takes bytes: {error}"),
        }
    }
}
