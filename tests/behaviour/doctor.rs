//! `tidegate doctor` finds each fault that a test causes, and the remedy that it prints removes the fault.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::authority::Authority;
use testkit::cluster::{Cluster, MASTERS};
use testkit::eventually;
use testkit::node::{run_to_end, tidegate};
use testkit::redis::{Redis, free_address};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const HISTORY: &str = r#"rules=[{pattern="h:*",history={size=9,age="1m"}}]"#;

struct DoctorReport {
    code: Option<i32>,
    json: Value,
}

impl DoctorReport {
    /// All findings of this subject, one for each master.
    fn findings(&self, subject: &str) -> Vec<&Value> {
        let parts = self.json["parts"].as_array().expect("parts");
        let findings = parts.iter().flat_map(|part| part["findings"].as_array().expect("findings"));
        findings.filter(|finding| finding["subject"] == subject).collect()
    }

    fn finding(&self, subject: &str) -> &Value {
        let found = self.findings(subject);
        found.first().unwrap_or_else(|| panic!("no finding of {subject:?} in {:#}", self.json))
    }

    fn level(&self, subject: &str) -> &str {
        self.finding(subject)["level"].as_str().expect("a level")
    }

    /// The arguments of the command in the finding's remedy, without the explanation behind it.
    fn command(&self, subject: &str) -> Vec<String> {
        let remedy = self.finding(subject)["do"].as_str().expect("a remedy");
        let command = remedy.split(", and the same").next().expect("a command");
        let mut arguments = Vec::new();
        for (at, quoted) in command.split('\'').enumerate() {
            match at % 2 {
                0 => arguments.extend(quoted.split_whitespace().map(str::to_owned)),
                _ => arguments.push(quoted.to_owned()),
            }
        }
        arguments
    }
}

async fn doctor(settings: &[&str]) -> DoctorReport {
    let flags = settings.iter().flat_map(|setting| ["--set", setting]);
    report(tidegate(&["doctor", "--json"].into_iter().chain(flags).collect::<Vec<_>>())).await
}

async fn report(command: Command) -> DoctorReport {
    let output = run_to_end(command).await;
    let json = serde_json::from_slice(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    DoctorReport { code: output.status.code(), json: json.unwrap_or_else(|_| panic!("{stderr}")) }
}

fn url(redis: &Redis) -> String {
    format!("broker.url={}", redis.url())
}

/// Runs the command that the report recommends.
async fn apply_remedy(redis: &Redis, report: &DoctorReport, subject: &str) {
    let command = report.command(subject);
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    let () = redis.query(&arguments).await;
}

#[tokio::test]
async fn doctor_prints_findings_by_part_and_ends_with_a_summary() {
    let output = run_to_end(tidegate(&["doctor", "--set", "session.ping_interval=60s"])).await;
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("Host\n") && text.contains("\nConfiguration\n"), "{text}");
    assert!(text.contains("  warning  ping interval") && text.contains("nginx (60s)"), "{text}");
    let summary = text.lines().last().expect("a summary");
    assert!(summary.starts_with("0 problems, ") && summary.ends_with(" ok"), "{summary}");
}

#[tokio::test]
async fn doctor_exits_with_2_on_a_configuration_fault() {
    let output = run_to_end(tidegate(&["doctor", "--set", "session.ping_interval=never"])).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn doctor_finds_redis_faults_and_its_remedies_remove_them() {
    let mut redis = Redis::stopped();
    let faults = [
        ["--maxmemory", "100mb"],
        ["--maxmemory-policy", "allkeys-lru"],
        ["--client-output-buffer-limit", "pubsub 65536 32768 1"],
        ["--min-replicas-to-write", "1"],
        ["--timeout", "2"],
    ];
    redis.run_with(&faults.concat().iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()).await;
    let url = url(&redis);
    let faulty = doctor(&[&url, HISTORY]).await;
    assert_eq!(faulty.code, Some(1));
    for subject in ["maxmemory-policy", "output buffer limit", "replicas"] {
        assert_eq!(faulty.level(subject), "problem", "{:#}", faulty.json);
    }
    assert_eq!(
        (faulty.level("quiet connections"), faulty.level("persistence")),
        ("warning", "hint")
    );
    for subject in ["maxmemory-policy", "output buffer limit", "quiet connections", "persistence"] {
        apply_remedy(&redis, &faulty, subject).await;
    }
    let () = redis.query(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    let healthy = doctor(&[&url, HISTORY]).await;
    let of_redis = healthy.json["parts"][1]["findings"].as_array().expect("findings");
    // The round trip time depends on the test machine.
    let mut others = of_redis.iter().filter(|it| it["subject"] != "round trip");
    assert!(others.all(|it| it["level"] == "ok"), "{:#}", healthy.json);
    assert_eq!(healthy.code, Some(0), "{:#}", healthy.json);
    // `doctor` leaves no key and no function in Redis.
    assert_eq!(redis.query::<u64>(&["DBSIZE"]).await, 0);
    assert_eq!(redis.query::<Vec<String>>(&["FUNCTION", "LIST"]).await, Vec::<String>::new());
}

#[tokio::test]
async fn doctor_reports_a_replica_as_a_problem_and_counts_a_masters_replicas() {
    // The master starts the replication at once instead of waiting for further replicas.
    let mut master = Redis::stopped_with(&["--repl-diskless-sync-delay", "0"]);
    master.run().await;
    let mut replica = Redis::stopped();
    let master_address = [master.address.ip().to_string(), master.address.port().to_string()];
    replica
        .run_with(&["--replicaof".to_owned(), master_address[0].clone(), master_address[1].clone()])
        .await;
    let report = doctor(&[&url(&replica)]).await;
    assert_eq!(report.code, Some(1));
    assert_eq!(report.level("role"), "problem");
    assert_eq!(report.level("publish and subscribe"), "problem");
    eventually("the replica to keep up", async || {
        let replica = master.info("replication", "slave0").await?;
        replica.contains("state=online").then_some(())
    })
    .await;
    let report = doctor(&[&url(&master)]).await;
    assert_eq!(report.finding("replicas")["measured"], "1 of 1 keep up");
}

#[tokio::test]
async fn doctor_reports_a_redis_that_refuses_connections_or_hangs() {
    let unused = free_address();
    for (url, subject) in [
        (format!("broker.url=redis://{unused}"), "connection"),
        (format!("broker.url=redis+sentinel://{unused}/main"), "masters"),
        (format!("broker.url=redis+cluster://{unused}"), "masters"),
    ] {
        let report = doctor(&[&url]).await;
        assert_eq!((report.code, report.level(subject)), (Some(1), "problem"));
        let why = report.finding(subject)["measured"].to_string().to_lowercase();
        assert!(why.contains("refused"), "{why}");
    }
    let redis = Redis::start().await;
    redis.freeze();
    let report = doctor(&[&url(&redis)]).await;
    assert_eq!((report.code, report.level("connection")), (Some(1), "problem"));
}

/// A server that sends this text on every connection and closes it.
async fn server_that_sends(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Closing a socket with unread input would reset the connection.
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn doctor_tells_a_server_that_is_not_the_configured_kind_from_an_absent_one() {
    let redis = Redis::start().await;
    let http = server_that_sends("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let silent = server_that_sends("").await;
    for (url, subject, measured, remedy) in [
        (format!("redis://{http}"), "connection", "does not speak Redis", "another host or port"),
        (format!("redis://{silent}"), "connection", "", "it requires TLS: rediss://"),
        (format!("redis+cluster://{}", redis.address), "masters", "not a cluster", "redis://"),
    ] {
        let report = doctor(&[&format!("broker.url={url}")]).await;
        assert_eq!((report.code, report.level(subject)), (Some(1), "problem"));
        let found = report.finding(subject);
        assert!(found["measured"].to_string().contains(measured), "{found}");
        assert!(found["do"].to_string().contains(remedy), "{found}");
    }
}

#[tokio::test]
async fn doctor_reports_an_authority_certificate_used_as_a_server_certificate() {
    let authority = Authority::create();
    let identity = authority.issue_authority("authority");
    let path = |path: &Path| path.to_str().expect("a path").to_owned();
    let shown = ["--tls-cert-file", &path(&identity.cert), "--tls-key-file", &path(&identity.key)];
    let (mut redis, encrypted) = Redis::stopped_with_tls(&authority, &shown);
    redis.run().await;
    let trusted = format!("broker.ca_file={}", authority.certificate_file().display());
    let report = doctor(&[&format!("broker.url=rediss://{encrypted}"), &trusted]).await;
    let found = report.finding("connection");
    let measured = found["measured"].to_string();
    assert!(
        measured.contains("belongs to an authority") && !measured.contains("Other("),
        "{found}"
    );
    let remedy = found["do"].to_string();
    assert!(remedy.contains("broker.ca_file") && remedy.contains("CA:FALSE"), "{found}");
}

#[tokio::test]
async fn doctor_names_the_permissions_that_a_redis_user_lacks() {
    let redis = Redis::start().await;
    let (least, address) = (
        "on >hush resetchannels &tidegate:* +hello +client|setname +client|setinfo +publish +subscribe \
         +unsubscribe +pubsub|numsub +pubsub|channels +role +ping",
        redis.address,
    );
    let rules: Vec<&str> = ["ACL", "SETUSER", "gate"].into_iter().chain(least.split(' ')).collect();
    // Before 7.2 there is no CLIENT SETINFO.
    let rules: Vec<&str> = rules.into_iter().filter(|it| *it != "+client|setinfo").collect();
    let () = redis.query(&rules).await;
    let url = format!("broker.url=redis://gate:hush@{address}");
    let least = doctor(&[&url]).await;
    assert_eq!(least.code, Some(0), "{:#}", least.json);
    assert_eq!((least.level("INFO"), least.level("CONFIG GET")), ("hint", "hint"));
    assert!(least.finding("INFO")["do"].as_str().expect("a remedy").contains("+info"));
    assert_eq!(least.level("permissions, disconnect"), "warning");
    assert_eq!(least.level("publish and subscribe"), "ok");

    let faulty = doctor(&[&url, HISTORY]).await;
    assert_eq!((faulty.code, faulty.level("permissions, history")), (Some(1), "problem"));
    // Redis names missing key permissions only to users that may run the command.
    apply_remedy(&redis, &faulty, "permissions, history").await;
    let keys = doctor(&[&url, HISTORY]).await;
    assert_eq!(keys.command("permissions, history")[3..], ["~tidegate:*"]);
    let remedy = keys.finding("permissions, history")["do"].to_string();
    assert!(remedy.contains("gate '~tidegate:*', ") && remedy.contains("ACL SAVE"), "{remedy}");
    apply_remedy(&redis, &keys, "permissions, history").await;
    assert!(doctor(&[&url, HISTORY]).await.findings("permissions, history").is_empty());

    let wrong_password = doctor(&[&format!("broker.url=redis://gate:wrong@{address}")]).await;
    assert_eq!((wrong_password.code, wrong_password.level("connection")), (Some(1), "problem"));
    let remedy = wrong_password.finding("connection")["do"].to_string();
    assert!(remedy.contains("password") && !remedy.contains("wrong@"), "{remedy}");
}

#[tokio::test]
async fn doctor_reports_an_open_file_limit_too_low_for_connections_max() {
    let limited = |connections: usize| {
        let mut command = Command::new("sh");
        let run = format!(
            "ulimit -n 512; exec {} doctor --json --set limits.connections_max={connections}",
            env!("CARGO_BIN_EXE_tidegate")
        );
        command.args(["-c", &run]);
        report(command)
    };
    let too_low = limited(1000).await;
    assert_eq!((too_low.code, too_low.level("open files")), (Some(1), "problem"));
    assert!(
        too_low.finding("open files")["measured"].to_string().contains("room for 384 connections")
    );
    assert_eq!(limited(384).await.level("open files"), "ok");
}

#[tokio::test]
async fn doctor_checks_each_master_of_a_cluster() {
    let cluster = Cluster::shared().await;
    let report = doctor(&[&format!("broker.url={}", cluster.url())]).await;
    assert_eq!(report.code, Some(0), "{:#}", report.json);
    let healthy = report.findings("all else");
    assert_eq!(healthy.len(), MASTERS);
    let all = |subject| healthy.iter().all(|it| it["measured"].to_string().contains(subject));
    assert!(all("publish and subscribe") && all("permissions"), "{:#}", report.json);
    // No master has a replica.
    assert_eq!(report.findings("replicas").len(), MASTERS);
    let one = format!("broker.url={}", cluster.servers[0].url());
    assert_eq!(doctor(&[&one]).await.level("role"), "problem", "the server is part of a cluster");
}
