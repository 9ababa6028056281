//! A node keeps serving while its log is not read or its configuration file cannot be read.

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

/// Stops reading standard error, and makes the node log until it drops lines.
async fn fill_log(node: &Node) {
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
async fn a_node_whose_log_is_not_read_keeps_serving_and_counts_dropped_lines() {
    let node = Node::standalone(&["telemetry.log_level=trace"]).await;
    assert_eq!(node.metric(DROPPED).await, 0.);
    fill_log(&node).await;
    assert_eq!(node.get("/healthz").await.status, 200);
    let mut clients = Vec::new();
    for _ in 0..17 {
        let mut client = Client::json(&node).await;
        let pong = client.request(json!({"type": "ping", "id": 1})).await;
        assert_eq!(pong, json!({"type": "pong", "id": 1}));
        clients.push(client);
    }
    node.process.pause_stderr(false);
    let reports = eventually("the node to report the dropped lines", async || {
        let reports: Vec<Value> = node
            .process
            .stderr()
            .iter()
            .filter(|line| line.contains("log lines were dropped"))
            .map(|line| serde_json::from_str(line).expect("a JSON line like the others"))
            .collect();
        (!reports.is_empty()).then_some(reports)
    })
    .await;
    assert_eq!(reports.len(), 1, "one line: {reports:?}");
    assert_eq!(reports[0]["lines"].as_f64(), Some(node.metric(DROPPED).await));
    node.signal(Signal::HUP);
    eventually("the log to continue", async || {
        node.process.stderr().iter().any(|line| line.contains("SIGHUP")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_log_is_not_read_drains_and_exits_in_time() {
    let mut node =
        Node::standalone(&["telemetry.log_level=trace", "drain.delay=0s", "drain.period=100ms"])
            .await;
    let mut client = Client::plain(&node, "news").await;
    fill_log(&node).await;
    node.signal(Signal::TERM);
    assert_eq!(u16::from(client.receive_close().await.code), 1012);
    drop(client);
    assert_eq!(node.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_node_with_a_configuration_fault_exits_though_its_log_is_not_read() {
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
async fn a_node_writes_its_last_log_lines_before_it_exits() {
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
    ended(node, "stopped immediately").await;
}

#[tokio::test]
async fn a_configuration_file_whose_read_blocks_delays_only_the_reload() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, "[drain]\ndelay = \"0s\"\nperiod = \"100ms\"\n").unwrap();
    let mut node = Node::with_one_worker(&file).await;
    node.wait_until_ready().await;
    let mut client = Client::json(&node).await;
    // Reading a pipe blocks until the other end writes, as reading a file blocks while its file server is unreachable.
    let pipe = directory.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is installed");
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

/// The write end of the pipe. None: no process reads it.
fn write_end(pipe: &std::path::Path) -> Option<File> {
    let opened = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(pipe);
    match opened {
        Ok(file) => Some(file),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => None,
        Err(error) => panic!("the pipe opens: {error}"),
    }
}

const O_NONBLOCK: i32 = 0o4000;

/// Writes until the pipe is full.
fn fill(pipe: &mut std::io::PipeWriter) {
    // A second description of the same pipe, so that the child's own is blocking.
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut other = OpenOptions::new()
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .expect("the pipe opens a second time");
    loop {
        match other.write(&[b'.'; 1]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the pipe takes bytes: {error}"),
        }
    }
}
