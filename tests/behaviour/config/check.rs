//! `tidegate check`.

use std::fs::File;
use std::process::Stdio;

use testkit::node::tidegate;
use testkit::soon;

use super::{line, run, stderr, stdout};

#[tokio::test]
async fn check_prints_the_effective_values_and_their_sources() {
    let flags = ["check", "--set", "session.ping_interval=7s"];
    let checked = run(&flags, &[("TIDEGATE__DRAIN__PERIOD", "3s")]).await;
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let text = stdout(&checked);
    let ping = line(&text, "ping_interval");
    assert!(ping.contains("\"7s\"") && ping.contains("--set"), "{ping}");
    let period = line(&text, "period");
    assert!(period.contains("\"3s\"") && period.contains("TIDEGATE__DRAIN__PERIOD"), "{period}");
    let timeout = line(&text, "pong_timeout");
    assert!(timeout.contains("\"10s\"") && timeout.contains("default"), "{timeout}");
}

#[tokio::test]
async fn check_prints_the_documented_defaults() {
    let text = stdout(&run(&["check"], &[]).await);
    for (section, key, value) in [
        ("server", "listen", "\"127.0.0.1:8080\""),
        ("server", "handshake_timeout", "\"10s\""),
        ("internal", "listen", "\"127.0.0.1:9090\""),
        ("broker", "url", "\"memory:\""),
        ("broker", "prefix", "\"tidegate:\""),
        ("broker", "publish_timeout", "\"2s\""),
        ("session", "ping_interval", "\"25s\""),
        ("session", "pong_timeout", "\"10s\""),
        ("session", "message_bytes_max", "\"64KiB\""),
        ("session", "queue_bytes_max", "\"1MiB\""),
        ("session", "channels_max", "128"),
        ("auth", "mode", "\"none\""),
        ("drain", "delay", "\"5s\""),
        ("drain", "period", "\"20s\""),
        ("telemetry", "log_level", "\"info\""),
        ("telemetry", "log_format", "\"auto\""),
    ] {
        let (_, of_section) = text.split_once(&format!("[{section}]")).expect(section);
        let line = line(of_section, key);
        assert!(line.starts_with(&format!("{key} = {value} ")), "{section}: {line}");
    }
}

#[tokio::test]
async fn check_prints_the_built_in_rules_of_the_demo_as_a_comment_where_they_apply() {
    let built_in = "\n# rules = [{ pattern = \"demo:live:**\"";
    let text = stdout(&run(&["check"], &[]).await);
    assert!(text.contains(built_in) && text.contains("# built in for the demo pages"), "{text}");
    for set in ["demo=false", "rules=[]", "broker.url=redis://127.0.0.1:1"] {
        let text = stdout(&run(&["check", "--set", set], &[]).await);
        assert!(!text.contains(built_in), "{set}: {text}");
    }
}

#[tokio::test]
async fn check_masks_secrets() {
    let checked = run(
        &["check", "--set", "broker.url=redis://ada:hush@127.0.0.1:6379"],
        &[("TIDEGATE__INTERNAL__API_KEY", "hush-hush-hush-hush")],
    )
    .await;
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let text = stdout(&checked);
    assert!(!text.contains("hush"), "{text}");
    assert!(!text.contains("ada") && line(&text, "api_key").contains("***"));
}

#[tokio::test]
async fn check_prints_a_configuration_that_a_node_can_load() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("effective.toml");
    let first = run(&["check", "--set", "session.ping_interval=7s"], &[]).await;
    std::fs::write(&file, &first.stdout).expect("the file is written");
    let again = run(&["check", "--config", file.to_str().expect("text")], &[]).await;
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(line(&stdout(&again), "ping_interval").contains("\"7s\""));
}

#[tokio::test]
async fn every_command_prints_help_and_the_program_prints_its_version() {
    let help = run(&["--help"], &[]).await;
    assert_eq!(help.status.code(), Some(0));
    for word in
        ["serve", "check", "doctor", "drain", "publish", "subscribe", "health", "--config", "--set"]
    {
        assert!(stdout(&help).contains(word), "{word} is missing");
    }
    for command in [
        "serve",
        "check",
        "doctor",
        "drain",
        "publish",
        "subscribe",
        "health",
        "token",
        "explain",
        "completion",
        "man",
    ] {
        assert_eq!(run(&[command, "--help"], &[]).await.status.code(), Some(0), "{command}");
    }
    let version = run(&["--version"], &[]).await;
    assert!(stdout(&version).contains(env!("CARGO_PKG_VERSION")));
}

/// Runs a command with this standard output; its exit code and standard error.
async fn run_with_stdout(output: Stdio, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::from(tidegate(arguments));
    command.stdout(output).stderr(Stdio::piped()).kill_on_drop(true);
    let running = command.spawn().expect("tidegate starts").wait_with_output();
    let ended = soon("tidegate to end", running).await.expect("tidegate ends");
    (ended.status.code(), stderr(&ended))
}

#[tokio::test]
async fn unwritable_output_is_exit_code_1_and_a_closed_pipe_is_exit_code_0() {
    for arguments in [&["check"][..], &["doctor"], &["explain", "--channel", "a"]] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let (code, message) = run_with_stdout(full.into(), arguments).await;
        assert_eq!(code, Some(1), "{arguments:?}: {message}");
        assert!(message.starts_with("tidegate: cannot write to standard output"), "{message}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(run_with_stdout(writer.into(), arguments).await, (Some(0), String::new()));
    }
}

#[tokio::test]
async fn check_prints_no_part_of_a_urls_credentials() {
    for url in ["redis://token@host/2", "redis+sentinel://token:token@a,b/main"] {
        let url = format!("broker.url={url}");
        let mut flags = vec!["check", "--set", url.as_str(), "--set", "broker.prefix=two:"];
        if url.contains("sentinel") {
            flags.extend(["--set", "broker.sentinel_password=token"]);
        }
        let checked = run(&flags, &[]).await;
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        let text = stdout(&checked);
        assert!(line(&text, "url").contains("://***@"), "{text}");
        assert!(!line(&text, "url").contains("token"), "{text}");
        assert!(!text.contains("token:") && !text.contains("\"token\""), "{text}");
    }
}

#[tokio::test]
async fn check_warns_of_a_rule_that_an_earlier_one_covers() {
    let check = async |rules: &str| {
        let checked = run(&["check", "--set", &format!("rules={rules}")], &[]).await;
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        stderr(&checked)
    };
    let warned =
        check(r#"[{pattern="a:*"},{pattern="a:**"},{pattern="a:{user}:b"},{pattern="b"}]"#).await;
    let warning = r#"warning: rules[2].pattern: "a:{user}:b" never applies, because rules[1] ("a:**") comes first"#;
    assert!(warned.contains(warning), "{warned}");
    assert_eq!(warned.matches("never applies").count(), 1, "{warned}");
    assert_eq!(check(r#"[{pattern="a:{user}:b"},{pattern="a:*"},{pattern="**"}]"#).await, "");
}
