//! `tidegate doctor`: each fault that is put in is found, and what it says to do mends it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::authority::Authority;
use testkit::cluster::{Cluster, MASTERS};
use testkit::eventually;
use testkit::node::{outcome, tidegate};
use testkit::redis::{Redis, free_address};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const HISTORY: &str = r#"rules=[{pattern="h:*",history={size=9,age="1m"}}]"#;

struct Report {
    code: Option<i32>,
    json: Value,
}

impl Report {
    /// All findings of this subject, one a master.
    fn all(&self, subject: &str) -> Vec<&Value> {
        let parts = self.json["parts"].as_array().expect("parts");
        let findings = parts.iter().flat_map(|part| part["findings"].as_array().expect("findings"));
        findings.filter(|finding| finding["subject"] == subject).collect()
    }

    fn of(&self, subject: &str) -> &Value {
        let found = self.all(subject);
        found.first().unwrap_or_else(|| panic!("nothing of {subject:?} in {:#}", self.json))
    }

    fn level(&self, subject: &str) -> &str {
        self.of(subject)["level"].as_str().expect("a level")
    }

    /// The command that it gives, word by word, without what is said behind it.
    fn command(&self, subject: &str) -> Vec<String> {
        let remedy = self.of(subject)["do"].as_str().expect("something to do");
        let command = remedy.split(", and the same").next().expect("a command");
        let mut words = Vec::new();
        for (at, quoted) in command.split('\'').enumerate() {
            match at % 2 {
                0 => words.extend(quoted.split_whitespace().map(str::to_owned)),
                _ => words.push(quoted.to_owned()),
            }
        }
        words
    }
}

async fn doctor(settings: &[&str]) -> Report {
    let flags = settings.iter().flat_map(|setting| ["--set", setting]);
    report(tidegate(&["doctor", "--json"].into_iter().chain(flags).collect::<Vec<_>>())).await
}

async fn report(command: Command) -> Report {
    let output = outcome(command).await;
    let json = serde_json::from_slice(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    Report { code: output.status.code(), json: json.unwrap_or_else(|_| panic!("{stderr}")) }
}

fn url(redis: &Redis) -> String {
    format!("broker.url={}", redis.url())
}

/// Does as the report says.
async fn obey(redis: &Redis, report: &Report, subject: &str) {
    let command = report.command(subject);
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let () = redis.ask(&words).await;
}

#[tokio::test]
async fn people_read_it_by_part_with_a_sum_at_the_end() {
    let output = outcome(tidegate(&["doctor", "--set", "session.ping_interval=60s"])).await;
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("Host\n") && text.contains("\nConfiguration\n"), "{text}");
    assert!(text.contains("  warning  ping interval") && text.contains("nginx (60s)"), "{text}");
    let sum = text.lines().last().expect("a sum");
    assert!(sum.starts_with("0 problems, ") && sum.ends_with(" ok"), "{sum}");
}

#[tokio::test]
async fn a_configuration_with_faults_is_code_2() {
    let output = outcome(tidegate(&["doctor", "--set", "session.ping_interval=never"])).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn faults_of_redis_are_found_and_mended_by_what_it_says() {
    let mut redis = Redis::absent();
    let faults = [
        ["--maxmemory", "100mb"],
        ["--maxmemory-policy", "allkeys-lru"],
        ["--client-output-buffer-limit", "pubsub 65536 32768 1"],
        ["--min-replicas-to-write", "1"],
        ["--timeout", "2"],
    ];
    redis.run_with(&faults.concat().iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()).await;
    let url = url(&redis);
    let ill = doctor(&[&url, HISTORY]).await;
    assert_eq!(ill.code, Some(1));
    for subject in ["maxmemory-policy", "output buffer limit", "replicas"] {
        assert_eq!(ill.level(subject), "problem", "{:#}", ill.json);
    }
    assert_eq!((ill.level("quiet connections"), ill.level("persistence")), ("warning", "hint"));
    for subject in ["maxmemory-policy", "output buffer limit", "quiet connections", "persistence"] {
        obey(&redis, &ill, subject).await;
    }
    let () = redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    let well = doctor(&[&url, HISTORY]).await;
    let of_redis = well.json["parts"][1]["findings"].as_array().expect("findings");
    // How long an answer takes is this machine's affair.
    let mut others = of_redis.iter().filter(|it| it["subject"] != "round trip");
    assert!(others.all(|it| it["level"] == "ok"), "{:#}", well.json);
    assert_eq!(well.code, Some(0), "{:#}", well.json);
    // It has looked, and left nothing behind.
    assert_eq!(redis.ask::<u64>(&["DBSIZE"]).await, 0);
    assert_eq!(redis.ask::<Vec<String>>(&["FUNCTION", "LIST"]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_replica_is_no_redis_for_a_node() {
    // It gives its data to the first replica at once.
    let mut master = Redis::absent_with(&["--repl-diskless-sync-delay", "0"]);
    master.run().await;
    let mut replica = Redis::absent();
    let of = [master.address.ip().to_string(), master.address.port().to_string()];
    replica.run_with(&["--replicaof".to_owned(), of[0].clone(), of[1].clone()]).await;
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
    assert_eq!(report.of("replicas")["measured"], "1 of 1 keep up");
}

#[tokio::test]
async fn a_redis_that_is_away_or_hangs_is_told_of_in_time() {
    let nobody = free_address();
    for (url, subject) in [
        (format!("broker.url=redis://{nobody}"), "connection"),
        (format!("broker.url=redis+sentinel://{nobody}/main"), "masters"),
        (format!("broker.url=redis+cluster://{nobody}"), "masters"),
    ] {
        let report = doctor(&[&url]).await;
        assert_eq!((report.code, report.level(subject)), (Some(1), "problem"));
        let why = report.of(subject)["measured"].to_string().to_lowercase();
        assert!(why.contains("refused"), "{why}");
    }
    let redis = Redis::start().await;
    redis.freeze();
    let report = doctor(&[&url(&redis)]).await;
    assert_eq!((report.code, report.level("connection")), (Some(1), "problem"));
}

/// Somebody who says this to everyone, and hangs up.
async fn stranger(words: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whoever asked is read first: else what was not read resets the connection.
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(words.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn whoever_is_not_the_redis_that_was_meant_is_told_from_one_that_is_away() {
    let redis = Redis::start().await;
    let http = stranger("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let silent = stranger("").await;
    for (url, subject, measured, remedy) in [
        (format!("redis://{http}"), "connection", "does not speak Redis", "another host or port"),
        (format!("redis://{silent}"), "connection", "", "it wants TLS: rediss://"),
        (format!("redis+cluster://{}", redis.address), "masters", "not a cluster", "redis://"),
    ] {
        let report = doctor(&[&format!("broker.url={url}")]).await;
        assert_eq!((report.code, report.level(subject)), (Some(1), "problem"));
        let found = report.of(subject);
        assert!(found["measured"].to_string().contains(measured), "{found}");
        assert!(found["do"].to_string().contains(remedy), "{found}");
    }
}

#[tokio::test]
async fn an_authoritys_own_certificate_is_told_from_a_servers() {
    let authority = Authority::create();
    let identity = authority.signs_authority("authority");
    let path = |path: &Path| path.to_str().expect("a path").to_owned();
    let shown = ["--tls-cert-file", &path(&identity.cert), "--tls-key-file", &path(&identity.key)];
    let (mut redis, encrypted) = Redis::absent_with_tls(&authority, &shown);
    redis.run().await;
    let trusted = format!("broker.ca_file={}", authority.file().display());
    let report = doctor(&[&format!("broker.url=rediss://{encrypted}"), &trusted]).await;
    let found = report.of("connection");
    let measured = found["measured"].to_string();
    assert!(measured.contains("one of an authority") && !measured.contains("Other("), "{found}");
    let remedy = found["do"].to_string();
    assert!(remedy.contains("broker.ca_file") && remedy.contains("CA:FALSE"), "{found}");
}

#[tokio::test]
async fn a_user_who_may_little_is_told_what_is_missing() {
    let redis = Redis::start().await;
    let (least, address) = (
        "on >hush resetchannels &tidegate:* +hello +client|setname +client|setinfo +publish +subscribe \
         +unsubscribe +pubsub|numsub +role +ping",
        redis.address,
    );
    let rules: Vec<&str> = ["ACL", "SETUSER", "gate"].into_iter().chain(least.split(' ')).collect();
    // Before 7.2 there is no CLIENT SETINFO.
    let rules: Vec<&str> = rules.into_iter().filter(|it| *it != "+client|setinfo").collect();
    let () = redis.ask(&rules).await;
    let url = format!("broker.url=redis://gate:hush@{address}");
    let least = doctor(&[&url]).await;
    assert_eq!(least.code, Some(0), "{:#}", least.json);
    assert_eq!((least.level("INFO"), least.level("CONFIG GET")), ("hint", "hint"));
    assert!(least.of("INFO")["do"].as_str().expect("something to do").contains("+info"));
    assert_eq!(least.level("permissions, disconnect"), "warning");
    assert_eq!(least.level("publish and subscribe"), "ok");

    let ill = doctor(&[&url, HISTORY]).await;
    assert_eq!((ill.code, ill.level("permissions, history")), (Some(1), "problem"));
    // Redis names the missing keys only to those who may run the command.
    obey(&redis, &ill, "permissions, history").await;
    let keys = doctor(&[&url, HISTORY]).await;
    assert_eq!(keys.command("permissions, history")[3..], ["~tidegate:*"]);
    let remedy = keys.of("permissions, history")["do"].to_string();
    assert!(remedy.contains("gate '~tidegate:*', ") && remedy.contains("ACL SAVE"), "{remedy}");
    obey(&redis, &keys, "permissions, history").await;
    assert!(doctor(&[&url, HISTORY]).await.all("permissions, history").is_empty());

    let stranger = doctor(&[&format!("broker.url=redis://gate:wrong@{address}")]).await;
    assert_eq!((stranger.code, stranger.level("connection")), (Some(1), "problem"));
    let remedy = stranger.of("connection")["do"].to_string();
    assert!(remedy.contains("password") && !remedy.contains("wrong@"), "{remedy}");
}

#[tokio::test]
async fn too_few_open_files_are_a_problem_for_those_who_want_more() {
    let limited = |connections: usize| {
        let mut command = Command::new("sh");
        let run = format!(
            "ulimit -n 512; exec {} doctor --json --set limits.connections_max={connections}",
            env!("CARGO_BIN_EXE_tidegate")
        );
        command.args(["-c", &run]);
        report(command)
    };
    let short = limited(1000).await;
    assert_eq!((short.code, short.level("open files")), (Some(1), "problem"));
    assert!(short.of("open files")["measured"].to_string().contains("room for 384 connections"));
    assert_eq!(limited(384).await.level("open files"), "ok");
}

#[tokio::test]
async fn each_master_of_a_cluster_is_asked() {
    let cluster = Cluster::shared().await;
    let report = doctor(&[&format!("broker.url={}", cluster.url())]).await;
    assert_eq!(report.code, Some(0), "{:#}", report.json);
    let well = report.all("all else");
    assert_eq!(well.len(), MASTERS);
    let all = |subject| well.iter().all(|it| it["measured"].to_string().contains(subject));
    assert!(all("publish and subscribe") && all("permissions"), "{:#}", report.json);
    // None has a replica.
    assert_eq!(report.all("replicas").len(), MASTERS);
    let one = format!("broker.url={}", cluster.servers[0].url());
    assert_eq!(doctor(&[&one]).await.level("role"), "problem", "it is part of a cluster");
}
