use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::settings::RawValue;

fn read(list: &str) -> Result<Rules, String> {
    read_with(list, false)
}

/// The rules, or all faults as text.
pub(super) fn read_with(list: &str, tokens: bool) -> Result<Rules, String> {
    let given = (RawValue::Text(list.to_owned()), "--set rules".to_owned());
    let mut settings = Settings::new(BTreeMap::from([("rules".to_owned(), given)]), Vec::new());
    let rules = Rules::read(&mut settings, tokens);
    settings.finish().map(|_| rules).map_err(|faults| faults.to_string())
}

#[test]
fn the_first_matching_rule_applies() {
    let rules = read(
        r#"[{ pattern = "chat:lobby", delivery = "latest" },
            { pattern = "chat:*", history = { size = 200, age = "10m" }, presence = true },
            { pattern = "**", presence = true }]"#,
    )
    .unwrap();
    let history = Some(History { size: 200, age: Duration::from_secs(600) });
    for (channel, policy) in [
        ("chat:lobby", Policy { delivery: Delivery::Latest, ..Policy::default() }),
        ("chat:1", Policy { history, presence: true, ..Policy::default() }),
        ("chat:1:2", Policy { presence: true, ..Policy::default() }),
    ] {
        assert_eq!(rules.of(channel), policy, "{channel}");
    }
    let rules = rules.current();
    let patterns: Vec<&str> = rules.iter().map(|rule| rule.pattern.as_str()).collect();
    assert_eq!(patterns, ["chat:lobby", "chat:*", "**"]);
}

#[test]
fn without_rules_nothing_is_kept_and_everything_delivered() {
    let rules = read("[]").unwrap();
    assert!(rules.current().is_empty() && Rules::default().current().is_empty());
    let policy = Policy { history: None, patterns: true, ..Policy::default() };
    assert_eq!(rules.of("chat:1"), policy);
}

#[test]
fn every_fault_is_shown_with_its_rule() {
    let faults = read(
        r#"[{ pattern = "chat:*", history = { size = 0, age = "31d" }, presense = true },
            { pattern = "chat:*" },
            { history = { size = 200 }, subscribe = "users", publish = "no" },
            { pattern = "a b", delivery = "sometimes", presence = "perhaps" },
            { pattern = "{name}", history = { age = "1s", sise = 2 } },
            { pattern = "*a*a*a", history = 200 },
            { pattern = "empty", history = {} }]"#,
    )
    .unwrap_err();
    for line in [
        "rules[0].history.size (--set rules): is a number; must be a whole number, 1 to 100000",
        "rules[0].history.age (--set rules): is a text that does not fit; must be a duration with its unit \
         (ms, s, m, h, d), 1s to 30d",
        "rules[0].presense (--set rules): no such key; did you mean rules[0].presence?",
        "rules[1].pattern (--set rules): rules[0] has the same pattern and comes first",
        "rules[2].pattern (--set rules): must be given: 1 to 255 bytes",
        "rules[2].history.age (--set rules): must be given if history.size is",
        "rules[2].subscribe (--set rules): is a text that does not fit; must be one of anyone, user, token, nobody",
        "rules[2].publish (--set rules): is a text that does not fit; must be one of anyone, user, token, nobody",
        "rules[3].pattern (--set rules): is a text that does not fit; must be 1 to 255 bytes",
        "rules[3].delivery (--set rules): is a text that does not fit; must be one of every, latest",
        "rules[3].presence (--set rules): is a text that does not fit; must be true or false",
        "rules[4].pattern (--set rules): is a text that does not fit; must be 1 to 255 bytes",
        "rules[4].history.size (--set rules): must be given if history.age is",
        "rules[4].history.sise (--set rules): no such key; did you mean rules[4].history.size?",
        "rules[5].pattern (--set rules): has too many wildcards",
        "rules[5].history (--set rules): must be a table",
        "rules[6].history (--set rules): must be a table",
    ] {
        assert!(faults.contains(line), "{line:?} is not in:\n{faults}");
    }
    assert!(faults.contains("has 17 faults"), "{faults}");
}

#[test]
fn rules_that_are_not_a_list_of_tables_are_one_fault() {
    for list in ["chat:*", "5", "{}", "[5]", "[\"chat:*\"]", "[{}, 5]", "[{ pattern = ]", "[]\nx=1"]
    {
        let faults = read(list).unwrap_err();
        let start =
            "a fault\n  rules (--set rules): must be a list of at most 1000 tables, such as [{";
        assert!(faults.contains(start), "{list:?}: {faults}");
    }
}

#[test]
fn more_than_1000_rules_are_a_fault() {
    let list = |count| {
        let each = (0..count).map(|i| format!("{{ pattern = \"chat:{i}\" }}"));
        format!("[{}]", each.collect::<Vec<_>>().join(","))
    };
    assert_eq!(read(&list(RULES_MAX)).unwrap().current().iter().count(), RULES_MAX);
    let faults = read(&list(RULES_MAX + 1)).unwrap_err();
    assert!(faults.contains("at most 1000 tables; has 1001"), "{faults}");
}

#[test]
fn with_rules_a_channel_that_none_matches_is_denied() {
    let access = |rules: &Rules, channel| {
        let policy = rules.of(channel);
        (policy.subscribe, policy.publish)
    };
    let list = r#"[{ pattern = "news", subscribe = "anyone", publish = "nobody" }, { pattern = "chat:*" },
            { pattern = "hall", subscribe = "user", publish = "token" }]"#;
    let open = read(list).unwrap();
    assert_eq!(access(&open, "news"), (Access::Anyone, Access::Nobody));
    assert_eq!(access(&open, "other"), (Access::Nobody, Access::Nobody));
    let guarded = read_with(list, true).unwrap();
    assert_eq!(access(&open, "chat:1"), (Access::Anyone, Access::Anyone));
    assert_eq!(access(&guarded, "chat:1"), (Access::Token, Access::Token));
    assert_eq!(access(&guarded, "hall"), (Access::User, Access::Token));
    assert_eq!(access(&guarded, "other"), (Access::Nobody, Access::Nobody));
    assert_eq!(access(&read("[]").unwrap(), "x"), (Access::Anyone, Access::Anyone));
    assert_eq!(access(&read_with("[]", true).unwrap(), "x"), (Access::Token, Access::Token));
    let closed = read_with(r#"[{ pattern = "chat:*" }]"#, true).unwrap();
    assert!(open.current().allows_anonymous() && !closed.current().allows_anonymous());
}

/// A file truncated within a rule may have lost one of them.
#[test]
fn subscribe_and_publish_must_be_set_together() {
    for (given, missing) in [("subscribe", "publish"), ("publish", "subscribe")] {
        let list = format!(r#"[{{ pattern = "a", {given} = "nobody" }}]"#);
        let faults = read(&list).unwrap_err();
        let line = format!("rules[0].{missing} (--set rules): must be given if {given} is");
        assert!(faults.contains(&line), "{line:?} is not in {faults}");
    }
}

#[test]
fn the_demo_rules_keep_history_of_the_demo_channels_and_change_no_access() {
    for tokens in [false, true] {
        let (none, demo) =
            (read_with("[]", tokens).unwrap(), Rules::built_in(BuiltInRules::demo(), tokens));
        assert!(demo.current().built_in().is_some() && none.current().built_in().is_none());
        assert!(demo.of("demo:chat:1").history.is_some() && demo.of("demo:chat:1").presence);
        assert_eq!(demo.of("demo:live:x").delivery, Delivery::Latest);
        let control = demo.control(&Channel::new("demo:run:1").unwrap());
        assert_eq!(control, Some(Ok(Channel::new("demo:control:demo:run:1").unwrap())));
        for channel in ["demo:chat:1", "demo:live:x", "chat:1"] {
            let access = |rules: &Rules| (rules.of(channel).subscribe, rules.of(channel).publish);
            assert_eq!(access(&demo), access(&none), "{channel}");
        }
        assert_eq!(demo.of("chat:1"), none.of("chat:1"));
    }
}

#[test]
fn a_rule_with_run_has_a_lease_and_perhaps_merges_and_a_control_channel() {
    let history = r#"history = { size = 9, age = "1h" }"#;
    let one = |run: &str| {
        let rules = read(&format!(r#"[{{ pattern = "run:*", {history}, run = {run} }}]"#)).unwrap();
        let control = rules.current().control("run:1").map(ToString::to_string);
        (rules.of("run:1").run.unwrap(), control)
    };
    let (run, control) = one(r#"{ lease = "30s" }"#);
    assert_eq!(run, Run { lease: Duration::from_secs(30), merge: None });
    assert_eq!(control, None);
    let (run, control) = one(r#"{ lease = "1s", merge = "text", control = "c:{name}" }"#);
    assert_eq!(run.merge, Some(Merge { rollup: Duration::from_millis(40) }));
    assert_eq!(control.as_deref(), Some("c:{name}"));
    let (run, _) = one(r#"{ lease = "1h", merge = "text", rollup = "10ms" }"#);
    assert_eq!(run.merge, Some(Merge { rollup: Duration::from_millis(10) }));
}

#[test]
fn every_fault_of_a_run_is_shown() {
    let faults = read(
        r#"[{ pattern = "a", history = { size = 9, age = "1h" }, run = { lease = "0s", rollup = "1ms", control = "x" } },
            { pattern = "b", run = { lease = "1s" } },
            { pattern = "c", history = { size = 9, age = "1h" }, run = { merge = "text" }, delivery = "latest" },
            { pattern = "d", history = { size = 9, age = "1h" }, run = { lease = "2h", rollup = "1s", merge = "json" } },
            { pattern = "e", history = { size = 9, age = "1h" }, run = true },
            { pattern = "f", history = { size = 9, age = "1h" }, run = {} },
            { pattern = "**", history = { size = 9, age = "1h" }, run = { lease = "1s", control = "c:{name}" } }]"#,
    )
    .unwrap_err();
    for line in [
        "rules[0].run.lease (--set rules): is a text that does not fit; must be a duration with its unit (ms, s, m, h, d), \
         1s to 1h",
        "rules[0].run.rollup (--set rules): is a text that does not fit",
        "rules[0].run.rollup (--set rules): has no effect without run.merge",
        "rules[0].run.control (--set rules): is a text that does not fit; must be a channel name with {name}",
        "rules[1].run (--set rules): needs history",
        "rules[2].run (--set rules): does not go with delivery = \"latest\"",
        "rules[2].run.lease (--set rules): must be given",
        "rules[3].run.lease (--set rules): is a text that does not fit",
        "rules[3].run.merge (--set rules): is a text that does not fit; must be text",
        "rules[4].run (--set rules): must be a table",
        "rules[5].run (--set rules): must be a table",
        "rules[6].run.control (--set rules): c:any~any~ would itself be a run, by rules[6]",
    ] {
        assert!(faults.contains(line), "{line:?} is not in:\n{faults}");
    }
    assert!(faults.contains("has 12 faults"), "{faults}");
}
