//! `[[rules]]` from every configuration source, as `tidegate check` prints them, and their faults.

use super::{line, run, stderr, stdout};

const TOML: &str = r#"
[[rules]]
pattern = "chat:*"
history = { size = 200, age = "10m" }
presence = true

[[rules]]
pattern = "prices:**"
delivery = "latest"

[session]
ping_interval = "7s"
"#;

const YAML: &str = r#"
rules:
  - pattern: chat:*
    history: { size: 200, age: 10m }
    presence: true
  - pattern: prices:**
    delivery: latest
session:
  ping_interval: 7s
"#;

const LIST: &str = r#"[{pattern="chat:*",history={size=200,age="10m"},presence=true},{pattern="prices:**",delivery="latest"}]"#;

const LINES: [&str; 28] = [
    "pattern = \"chat:*\"",
    "subscribe = \"anyone\"",
    "publish = \"anyone\"",
    "history.size = 200",
    "history.age = \"10m\"",
    "presence = true",
    "delivery = \"every\"",
    "# run.lease is not set",
    "# run.merge is not set",
    "# run.rollup is not set",
    "# run.control is not set",
    "streams = false",
    "events = false",
    "patterns = false",
    "pattern = \"prices:**\"",
    "subscribe = \"anyone\"",
    "publish = \"anyone\"",
    "# history.size is not set",
    "# history.age is not set",
    "presence = false",
    "delivery = \"latest\"",
    "# run.lease is not set",
    "# run.merge is not set",
    "# run.rollup is not set",
    "# run.control is not set",
    "streams = false",
    "events = false",
    "patterns = false",
];

/// The lines of the rules, which `check` prints last, without their sources.
fn rules(checked: &str) -> Vec<&str> {
    let (_, rules) = checked.split_once("\n[[rules]]\n").expect("there are rules");
    let keys = rules.lines().filter(|line| !line.is_empty() && *line != "[[rules]]");
    keys.map(|line| line.split_once("  # ").map_or(line, |(value, _)| value)).collect()
}

#[tokio::test]
async fn rules_load_from_toml_and_yaml_and_are_printed_as_a_loadable_configuration() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, content) in [("a.toml", TOML), ("a.yaml", YAML)] {
        let file = directory.path().join(name);
        let printed = directory.path().join("printed.toml");
        std::fs::write(&file, content).expect("the file is written");
        let file = file.to_str().expect("text");
        let checked = run(&["check", "--config", file], &[]).await;
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        let text = stdout(&checked);
        assert_eq!(rules(&text), LINES, "{name}");
        assert!(line(&text, "history.size").ends_with(file), "{text}");
        assert!(line(&text, "delivery").ends_with("default"), "{text}");

        std::fs::write(&printed, &checked.stdout).expect("the file is written");
        let again = run(&["check", "--config", printed.to_str().expect("text")], &[]).await;
        assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
        assert_eq!(rules(&stdout(&again)), LINES, "{name}");
    }
}

#[tokio::test]
async fn rules_from_the_environment_and_set_are_toml_and_replace_the_files_rules() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("a.toml");
    std::fs::write(&file, "[[rules]]\npattern = \"news\"\n").expect("the file is written");
    let file = file.to_str().expect("text");
    let flag = format!("rules={LIST}");
    let other = [("TIDEGATE__RULES", "[{ pattern = \"other\" }]")];
    for (flags, environment, origin) in [
        (&["--set", flag.as_str()][..], &other[..], "--set rules"),
        (&[], &[("TIDEGATE__RULES", LIST)], "TIDEGATE__RULES"),
    ] {
        let checked = run(&[&["check", "--config", file], flags].concat(), environment).await;
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        let text = stdout(&checked);
        assert_eq!(rules(&text), LINES);
        assert!(line(&text, "history.size").ends_with(origin), "{text}");
    }
    let none = run(&["check", "--config", file, "--set", "rules=[]"], &[]).await;
    assert!(!stdout(&none).contains("[[rules]]"), "{}", stdout(&none));
}

#[tokio::test]
async fn all_faults_of_rules_are_shown_with_rule_source_and_allowed_values() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("a.toml");
    let content = r#"
        [[rules]]
        pattern = "chat:*"
        presense = true
        [[rules]]
        pattern = "chat room"
        [[rules]]
        pattern = "chat:*"
        history = { size = 200000, age = "10m" }
        subscribe = "friends"
        publish = "token"
    "#;
    std::fs::write(&file, content).expect("the file is written");
    let file = file.to_str().expect("text");
    let ended = run(&["check", "--config", file, "--set", "session.channels_max=0"], &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    let text = stderr(&ended);
    for (key, parts) in [
        ("rules[0].presense", &["did you mean rules[0].presence?"][..]),
        ("rules[1].pattern", &["white space", "{user}"]),
        ("rules[2].pattern", &["rules[0] has the same"]),
        ("rules[2].history.size", &["is a number", "1 to 100000"]),
        ("rules[2].subscribe", &["one of anyone, user, token, nobody"]),
    ] {
        let line = line(&text, key);
        for part in parts.iter().chain(&[file]) {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
    }
    assert!(text.contains("6 faults") && text.contains("session.channels_max"), "{text}");
}

#[tokio::test]
async fn rules_that_are_no_list_are_a_fault_that_shows_the_syntax() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("a.toml");
    std::fs::write(&file, "[rules]\npattern = \"chat:*\"\n").expect("the file is written");
    let ended = run(&["check", "--config", file.to_str().expect("text")], &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(line(&stderr(&ended), "rules").contains("[[rules]]"), "{}", stderr(&ended));

    let variable = [("TIDEGATE__RULES__0__PATTERN", "chat:*")];
    let ended = run(&["check"], &variable).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(line(&stderr(&ended), "rules").contains("TIDEGATE__RULES__0__PATTERN"));

    for list in ["chat:*", "[chat:*]", "[{ pattern: \"chat:*\" }]", "[{}, 5]", "[["] {
        let ended = run(&["check", "--set", &format!("rules={list}")], &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{list}");
        let text = stderr(&ended);
        assert!(line(&text, "rules (--set rules)").contains("[{ pattern = \"chat:*\""), "{text}");
    }
}
