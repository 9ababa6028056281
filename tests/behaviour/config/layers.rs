//! Defaults, file, environment, `--set`: the later one wins.

use std::path::Path;

use testkit::client::Client;
use testkit::node::{Node, run_to_end, tidegate};

use super::{line, run, stderr, stdout};

const TOML: &str = r#"
demo = false
[session]
ping_interval = "1s"
pong_timeout = "1s"
channels_max = 7
[drain]
period = "1s"
[server]
origins = ["app.example"]
"#;

const YAML: &str = r#"
demo: false
session:
  ping_interval: 1s
  pong_timeout: 1s
  channels_max: 7
drain:
  period: 1s
server:
  origins: [app.example]
"#;

#[tokio::test]
async fn set_overrides_environment_which_overrides_file_which_overrides_defaults() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, content) in [("a.toml", TOML), ("a.yaml", YAML), ("a.yml", YAML)] {
        let file = directory.path().join(name);
        std::fs::write(&file, content).expect("the file is written");
        let file = file.to_str().expect("text");
        let checked = run(
            &["--config", file, "check", "--set", "drain.period=3s"],
            &[("TIDEGATE__SESSION__PONG_TIMEOUT", "2s"), ("TIDEGATE__DRAIN__PERIOD", "2s")],
        )
        .await;
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        let text = stdout(&checked);
        for (key, value, origin) in [
            ("ping_interval", "\"1s\"", file),
            ("pong_timeout", "\"2s\"", "TIDEGATE__SESSION__PONG_TIMEOUT"),
            ("period", "\"3s\"", "--set"),
            ("channels_max", "7", file),
            ("demo", "false", file),
            ("origins", "[\"app.example\"]", file),
            ("delay", "\"5s\"", "default"),
        ] {
            let line = line(&text, key);
            assert!(line.contains(value) && line.contains(origin), "{name}: {line}");
        }
    }
}

#[tokio::test]
async fn check_names_the_file_of_a_value_whatever_the_working_directory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (inner, beside) = (directory.path().join("inner"), directory.path().join("beside"));
    std::fs::create_dir(&inner).and(std::fs::create_dir(&beside)).expect("directories");
    let file = inner.join("a.toml");
    std::fs::write(&file, TOML).expect("the file is written");
    let absolute = file.to_str().expect("text");
    for (from, path) in [
        (Path::new("/"), absolute),
        (&beside, absolute),
        (&inner, absolute),
        (&inner, "a.toml"),
        (&inner, "./a.toml"),
        (&beside, "../inner/a.toml"),
    ] {
        let mut command = tidegate(&["check", "--config", path]);
        command.current_dir(from);
        let text = stdout(&run_to_end(command).await);
        let line = line(&text, "ping_interval");
        assert!(line.contains("a.toml"), "{path} from {}: {line}", from.display());
    }
}

#[tokio::test]
async fn numbers_booleans_and_lists_are_parsed_from_the_environment_and_set() {
    let toml = r#"["app.example", "other.example"]"#;
    for list in ["app.example, other.example", toml, "[ 'app.example', \n 'other.example' ]"] {
        let environment = [
            ("TIDEGATE__SESSION__CHANNELS_MAX", "9"),
            ("TIDEGATE__DEMO", "false"),
            ("TIDEGATE__AUTH__AUDIENCE", list),
        ];
        let origins = format!("server.origins={list}");
        let checked = run(&["check", "--set", &origins], &environment).await;
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        let text = stdout(&checked);
        assert!(line(&text, "channels_max").contains("= 9 "));
        assert!(line(&text, "demo").contains("= false "));
        for key in ["origins", "audience"] {
            assert!(line(&text, key).contains(toml), "{list}: {text}");
        }
    }
    let address = run(&["check", "--set", "server.origins=[::1]:8080,[::1]"], &[]).await;
    assert!(line(&stdout(&address), "origins").contains(r#"["[::1]:8080", "[::1]"]"#));
}

#[tokio::test]
async fn a_malformed_list_in_set_or_the_environment_is_a_fault_that_shows_both_notations() {
    for list in [r#"["app.example""#, "[app.example]", r#"["app.example", 7]"#, r#""app.example""#]
    {
        let origins = format!("server.origins={list}");
        let set = run(&["check", "--set", &origins], &[]).await;
        let variable = run(&["check"], &[("TIDEGATE__SERVER__ORIGINS", list)]).await;
        for ended in [set, variable] {
            assert_eq!(ended.status.code(), Some(2), "{list}: {}", stdout(&ended));
            let text = stderr(&ended);
            let fault = line(&text, "server.origins");
            for part in ["must be a list of hosts", "(a,b)", r#"(["a", "b"])"#] {
                assert!(fault.contains(part), "{part:?} is not in {fault:?}");
            }
        }
    }
}

#[tokio::test]
async fn unknown_variables_that_begin_with_tidegate_are_no_fault() {
    let environment = [("TIDEGATE_HOME", "/somewhere"), ("TIDEGATE", "x")];
    let checked = run(&["check"], &environment).await;
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
}

#[tokio::test]
async fn a_running_node_uses_a_value_from_set() {
    let node = Node::standalone(&["session.ping_interval=3s"]).await;
    assert_eq!(Client::json(&node).await.welcome["ping_interval_ms"], 3000);
}
