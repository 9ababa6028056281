//! What looks like a setting, is none, and so has no effect: a warning each, never a fault.

use testkit::eventually;
use testkit::node::Node;

use super::{run, stderr, stdout};

const VARIABLES: [(&str, &str); 3] =
    [("TIDEGATE_SERVER_LISTEN", "hush"), ("TIDEGATE_HOME", "hush"), ("TIDEGATE", "hush")];

#[tokio::test]
async fn variables_are_named_with_the_setting_that_is_near_and_without_their_values() {
    for arguments in [&["check"][..], &["doctor"], &["explain", "--channel", "a"]] {
        let ended = run(arguments, &VARIABLES).await;
        let said = stderr(&ended);
        assert_eq!(ended.status.code(), run(arguments, &[]).await.status.code(), "{said}");
        let expected = [
            "tidegate: warning: TIDEGATE_HOME: is no setting and has no effect; docs/CONFIG.md lists them all",
            "tidegate: warning: TIDEGATE_SERVER_LISTEN: is no setting and has no effect; did you mean \
             TIDEGATE__SERVER__LISTEN?",
        ];
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
        assert!(!said.contains("hush") && !stdout(&ended).contains("hush"));
    }
    // Probes run every few seconds.
    assert!(!stderr(&run(&["health"], &VARIABLES).await).contains("warning"));
}

#[tokio::test]
async fn a_fault_that_comes_of_it_is_told_with_it() {
    let open = ["check", "--set", "server.listen=0.0.0.0:8080"];
    let ended = run(&open, &[("TIDEGATE_AUTH_MODE", "none")]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("TIDEGATE__AUTH__MODE"), "{}", stderr(&ended));
}

#[tokio::test]
async fn a_node_logs_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("a.toml");
    std::fs::write(&file, "[sesion]\n[drain]\n").expect("it is written");
    let node = Node::configured(&file, &[]).await;
    let line = eventually("a warning", async || {
        node.process.stderr().into_iter().find(|line| line.contains("sesion"))
    })
    .await;
    assert!(line.contains("WARN") && line.contains("did you mean session?"), "{line}");
    assert!(!node.process.stderr().iter().any(|line| line.contains("drain is empty")));
}

#[tokio::test]
async fn empty_tables_of_no_section_are_named_in_both_languages() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in [("a.toml", "[sesion]\n[auth]\n"), ("a.yaml", "sesion:\nauth: {}\n")] {
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("it is written");
        let file = file.to_str().expect("text");
        let ended = run(&["check", "--config", file], &[]).await;
        assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
        let expected = format!(
            "tidegate: warning: {file}: sesion is empty and no section; did you mean session?\n"
        );
        assert_eq!(stderr(&ended), expected);
    }
}
