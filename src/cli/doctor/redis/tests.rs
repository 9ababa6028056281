//! A Redis with its defaults, and the findings about it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::host::tests::config;
use super::*;
use crate::broker::{Answers, RulesFound};

pub const HISTORY: &str = r#"rules=[{pattern="chat:*",history={size=5,age="1m"},presence=true}]"#;

/// A Redis with its defaults, with these fields of `INFO` and these settings in addition.
pub fn answers(info: &[(&str, &str)], settings: &[(&'static str, &str)]) -> Answers {
    let mut all = BTreeMap::from([
        ("redis_version", "7.0.15"),
        ("role", "master"),
        ("connected_clients", "5"),
        ("used_memory", "1000000"),
        ("connected_slaves", "0"),
        ("rdb_last_bgsave_status", "ok"),
    ]);
    all.extend(info.iter().copied());
    let mut given = BTreeMap::from([
        ("appendonly", "yes"),
        (
            "client-output-buffer-limit",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
        ("maxclients", "10000"),
        ("maxmemory", "1000000000"),
        ("maxmemory-policy", "noeviction"),
        ("min-replicas-to-write", "0"),
        ("tcp-keepalive", "300"),
        ("timeout", "0"),
    ]);
    given.extend(settings.iter().copied());
    let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Answers {
        info: Ok(all.into_iter().map(text).collect()),
        settings: given.into_iter().map(|(name, value)| (name, Ok(value.to_owned()))).collect(),
        has_functions: Ok(true),
        rules: Ok(RulesFound::Same),
        nodes_with_other_rules: Vec::new(),
        round_trip: Duration::from_micros(200),
        clock_ahead_millis: Ok(3),
        forbidden: Vec::new(),
        relay: Ok(Duration::from_micros(500)),
    }
}

/// The level of one finding, with these settings.
pub fn level(answers: Answers, flags: &[&str], subject: &str) -> Option<Level> {
    let flags = [&["broker.url=redis://localhost"], flags].concat();
    let master = MasterSurvey { address: "localhost:6379".to_owned(), answers: Ok(answers) };
    let found = of_master(&master, &config(&flags));
    found.iter().find(|finding| finding.subject == subject).map(|finding| finding.level)
}

#[test]
fn a_well_configured_redis_has_only_ok_findings() {
    for flags in [&[][..], &[HISTORY]] {
        let master = MasterSurvey { address: "a:1".to_owned(), answers: Ok(answers(&[], &[])) };
        let found = of_master(&master, &config(flags));
        assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:#?}");
    }
}

#[test]
fn too_few_files_for_many_masters_are_a_warning() {
    let level = |masters, max: &str| {
        let config = config(&[&format!("limits.connections_max={max}")]);
        files(masters, 1024, &config).map(|finding| finding.level)
    };
    assert_eq!(level(10, "0"), None);
    // No setting gives clients the reserved files.
    assert_eq!(level(1, "50000"), None);
    assert_eq!(level(11, "50000"), Some(Level::Warning));
    assert_eq!(level(11, "0"), Some(Level::Warning));
    assert_eq!(level(11, "891"), None);
    assert_eq!(level(11, "892"), Some(Level::Warning));
    let told = files(11, 1024, &config(&[])).unwrap();
    assert_eq!(told.measured, "11 masters may need 69 open files; 64 are reserved for them");
    assert_eq!(told.remedy, "limits.connections_max = 891, or more open files");
}

#[test]
fn ok_findings_of_several_masters_are_joined() {
    let replica = [("connected_slaves", "1"), ("slave0", "state=online,lag=0")];
    let well = MasterSurvey { address: "a:1".to_owned(), answers: Ok(answers(&replica, &[])) };
    let away =
        MasterSurvey { address: "b:2".to_owned(), answers: Err("Connection refused".to_owned()) };
    let survey = Survey { masters: vec![well, away], slots_unserved: 7, masters_not_queried: 0 };
    let parts = parts(Some(&Ok(survey)), &config(&["broker.url=redis+cluster://a:1,b:2"]));
    let findings: Vec<_> = parts.iter().map(|part| part.findings.len()).collect();
    assert_eq!(findings, [1, 1, 1]);
    assert_eq!(parts[0].findings[0].level, Level::Problem);
    assert_eq!(parts[1].findings[0].level, Level::Ok);
    assert!(parts[2].findings[0].measured.contains("refused"), "{parts:#?}");
}
