//! Configuration faults: all are shown at once, each with a hint; exit code 2 before anything is bound.

use super::{line, run, stderr, stdout};

#[tokio::test]
async fn all_faults_are_shown_at_once_with_key_source_and_bounds() {
    let ended = run(
        &[
            "check",
            "--set",
            "session.ping_interval=25",
            "--set",
            "session.channels_max=0",
            "--set",
            "sesion.pong_timeout=5s",
            "--set",
            "broker.url=http://example.com",
        ],
        &[("TIDEGATE__SESSION__QUEUE_BYTES_MAX", "huge")],
    )
    .await;
    assert_eq!(ended.status.code(), Some(2));
    let text = stderr(&ended);
    for (key, parts) in [
        ("session.ping_interval", ["is a text", "--set", "100ms to 1h"]),
        ("session.channels_max", ["is a text", "--set", "10000"]),
        ("session.queue_bytes_max", ["is a text", "TIDEGATE__SESSION__QUEUE_BYTES_MAX", "1GiB"]),
        ("sesion.pong_timeout", ["--set", "did you mean", "session.pong_timeout"]),
        ("broker.url", ["--set", "redis://", "memory:"]),
    ] {
        let line = line(&text, key).replace("1_00", "100");
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
    }
    assert!(text.contains("5 faults"), "{text}");
}

#[tokio::test]
async fn a_node_with_a_configuration_fault_exits_with_2() {
    for arguments in [&["serve"][..], &[]] {
        let flags = ["--set", "server.listen=nowhere"];
        let ended = run(&[arguments, &flags].concat(), &[]).await;
        assert_eq!(ended.status.code(), Some(2));
        assert!(stderr(&ended).contains("server.listen"), "{}", stderr(&ended));
    }
}

#[tokio::test]
async fn a_public_address_without_authentication_is_a_fault_unless_auth_mode_is_none() {
    let open = ["check", "--set", "server.listen=0.0.0.0:8080"];
    let ended = run(&open, &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("auth.mode"), "{}", stderr(&ended));
    for listen in ["[::]:8080", "192.0.2.1:8080"] {
        let listen = format!("server.listen={listen}");
        assert_eq!(run(&["serve", "--set", &listen], &[]).await.status.code(), Some(2));
    }
    let arguments = [&open[..], &["--set", "auth.mode=none"]].concat();
    assert_eq!(run(&arguments, &[]).await.status.code(), Some(0));
}

#[tokio::test]
async fn invalid_arguments_exit_with_code_2() {
    for arguments in [
        &["dance"][..],
        &["check", "--set", "no equals sign"],
        &["check", "--set", "=value"],
        &["check", "--unheard-of"],
        &["publish", "a b", "x", "--set", "broker.url=redis://127.0.0.1:1"],
        &["publish", "news", "x"],
        &["subscribe", "news"],
        &["subscribe"],
        &["publish"],
        &["completion"],
        &["man", "dance"],
        &["health", "--set", "internal.listen=nowhere"],
    ] {
        let ended = run(arguments, &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", stderr(&ended));
        assert!(!ended.stderr.is_empty());
    }
}

#[tokio::test]
async fn an_unreadable_configuration_file_is_named_in_the_fault() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
    let (missing, broken, strange) = (path("missing.toml"), path("broken.toml"), path("odd.ini"));
    std::fs::write(&broken, "[session\nping_interval = ").expect("the file is written");
    std::fs::write(&strange, "").expect("the file is written");
    for file in [&missing, &broken, &strange, &path("")] {
        let ended = run(&["check", "--config", file], &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{file}: {}", stderr(&ended));
        assert!(stderr(&ended).contains(file.as_str()), "{file}: {}", stderr(&ended));
    }
}

#[tokio::test]
async fn faults_of_urls_name_the_problem_and_quote_no_credentials() {
    for (setting, part) in [
        ("broker.url=redis://ada:hush@host?ssl=true", "ssl"),
        ("broker.url=redis://:hush@host?db=3", "redis://host/3"),
        ("broker.url=redis://host?password=hush", "password"),
        ("broker.url=redis://host?hush", "%3F"),
        ("broker.url=redis://:pa?hush@host", "%3F"),
        ("broker.url=rediss+cluster://:hush@host?readonly=yes", "readonly"),
        ("broker.url=http://ada:hush@host", "redis://"),
        ("broker.sentinel_password=hush", "names no sentinels"),
        ("telemetry.otlp_endpoint=http://ada:hush@host:4317", "http://HOST:PORT"),
        ("auth.keys=[{jwks=\"https://ada:hush@host/keys\"}]", "jwks"),
    ] {
        let ended = run(&["check", "--set", setting], &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{setting}");
        let text = stderr(&ended);
        let key = setting.split('=').next().expect("a key");
        assert!(text.contains(key) && text.contains(part), "{setting}: {text}");
        assert!(!text.contains("hush") && !stdout(&ended).contains("hush"), "{text}");
    }
}
