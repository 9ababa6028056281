//! Names that resemble settings but have no effect: one warning each, never a fault.

use testkit::eventually;
use testkit::node::Node;

use super::{run, stderr, stdout};

const VARIABLES: [(&str, &str); 3] =
    [("TIDEGATE_SERVER_LISTEN", "hush"), ("TIDEGATE_HOME", "hush"), ("TIDEGATE", "hush")];

#[tokio::test]
async fn commands_warn_of_unknown_variables_with_the_nearest_setting_and_without_values() {
    for arguments in [&["check"][..], &["doctor"], &["explain", "--channel", "a"]] {
        let ended = run(arguments, &VARIABLES).await;
        let warnings = stderr(&ended);
        assert_eq!(ended.status.code(), run(arguments, &[]).await.status.code(), "{warnings}");
        let expected = [
            "tidegate: warning: TIDEGATE_HOME: is not a setting and has no effect; docs/CONFIG.md lists them all",
            "tidegate: warning: TIDEGATE_SERVER_LISTEN: is not a setting and has no effect; did you mean \
             TIDEGATE__SERVER__LISTEN?",
        ];
        let mut lines: Vec<&str> = warnings.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
        assert!(!warnings.contains("hush") && !stdout(&ended).contains("hush"));
    }
    // Probes run every few seconds.
    assert!(!stderr(&run(&["health"], &VARIABLES).await).contains("warning"));
}

#[tokio::test]
async fn a_fault_caused_by_a_misspelt_variable_is_shown_with_its_warning() {
    let open = ["check", "--set", "server.listen=0.0.0.0:8080"];
    let ended = run(&open, &[("TIDEGATE_AUTH_MODE", "none")]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("TIDEGATE__AUTH__MODE"), "{}", stderr(&ended));
}

#[tokio::test]
async fn a_node_logs_a_warning_for_an_unknown_empty_section() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("a.toml");
    std::fs::write(&file, "[sesion]\n[drain]\n").expect("the file is written");
    let node = Node::with_config_file(&file, &[]).await;
    let line = eventually("a warning", async || {
        node.process.stderr().into_iter().find(|line| line.contains("sesion"))
    })
    .await;
    assert!(line.contains("WARN") && line.contains("did you mean session?"), "{line}");
    assert!(!node.process.stderr().iter().any(|line| line.contains("drain is empty")));
}

#[tokio::test]
async fn check_warns_of_unknown_empty_sections_in_toml_and_yaml() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in [("a.toml", "[sesion]\n[auth]\n"), ("a.yaml", "sesion:\nauth: {}\n")] {
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("the file is written");
        let file = file.to_str().expect("text");
        let ended = run(&["check", "--config", file], &[]).await;
        assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
        let expected = format!(
            "tidegate: warning: {file}: sesion is empty and not a section; did you mean session?\n"
        );
        assert_eq!(stderr(&ended), expected);
    }
}
