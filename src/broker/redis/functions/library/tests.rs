use super::*;
use crate::broker::redis::functions::fleet::{SETTLE_MILLIS, SETTLE_MILLIS_MAX};
use crate::broker::redis::secret::Secret;

const NOW: u64 = 1000;

fn library(prefix: &str, size: u32, since: u64) -> Library {
    of_rules(prefix, &[("^h:[^ ]*$", size)], since)
}

fn of_rules(prefix: &str, rules: &[(&str, u32)], since: u64) -> Library {
    let rules = rules.iter().map(|(pattern, size)| ((*pattern).to_owned(), *size, 600_000));
    let fleet = LibraryFleet {
        publish: "PUBLISH".to_owned(),
        window: 300_000,
        rules: rules.collect(),
        since,
        ..LibraryFleet::default()
    };
    let (known, secrets) = (Arc::default(), Arc::new(Secrets::new(None)));
    Library { prefix: prefix.to_owned(), fleet, last_known: known, secrets }
}

/// The text that is loaded over `found`. `None`: nothing is loaded.
fn loaded(library: &Library, found: Option<&str>, now: u64) -> Option<String> {
    library.to_load(found, now, &BypassedHistory::default(), now).1
}

/// The fleet of the prefix `a:`.
fn fleet(text: &str) -> LibraryFleet {
    parse(text).expect("a node wrote it").1["a:"].clone()
}

/// The fleet as installed on an empty server.
fn first(library: &Library) -> LibraryFleet {
    let kept_since = vec![NOW; library.fleet.rules.len()];
    LibraryFleet { kept_since, ..library.fleet.clone() }
}

/// When the node with this number starts, if each waits until the rules of the one before apply.
fn starts_at(number: u64) -> u64 {
    NOW + number * 10 * SETTLE_MILLIS
}

/// When its rules apply, if there were others before.
fn holds_at(number: u64) -> u64 {
    starts_at(number) + SETTLE_MILLIS
}

/// Starts nodes with these rules one after another, and returns since when the last node's rules
/// have kept history.
fn one_by_one(all: &[&[(&str, u32)]]) -> Vec<u64> {
    let mut text: Option<String> = None;
    for (number, rules) in all.iter().enumerate() {
        let number = number as u64;
        let node = of_rules("a:", rules, number);
        text = loaded(&node, text.as_deref(), starts_at(number)).or(text);
    }
    fleet(&text.unwrap()).kept_since
}

#[test]
fn of_two_nodes_with_different_rules_those_of_the_later_node_count() {
    let text = loaded(&library("a:", 5, 100), None, NOW).unwrap();
    assert_eq!(loaded(&library("a:", 5, 200), Some(&text), NOW), None);
    assert_eq!(loaded(&library("a:", 6, 99), Some(&text), NOW), None);
    let newer = loaded(&library("a:", 6, 101), Some(&text), NOW).unwrap();
    assert!(newer.contains("[[\"^h:[^ ]*$\",6,600000]]"), "{newer}");
}

#[test]
fn fleets_that_share_a_redis_keep_each_others_rules() {
    let text = loaded(&library("a:", 5, 100), None, NOW).unwrap();
    let both = loaded(&library("b:", 7, 1), Some(&text), NOW).unwrap();
    let (_, fleets) = parse(&both).unwrap();
    assert_eq!(fleets["a:"], first(&library("a:", 5, 100)));
    assert_eq!(fleets["b:"], first(&library("b:", 7, 1)));
}

#[test]
fn a_library_of_a_later_version_is_kept_and_an_earlier_one_is_replaced() {
    let text = loaded(&library("a:", 5, 100), None, NOW).unwrap();
    let this = format!("-- version {VERSION}\n");
    let later = text.replace(&this, "-- version 999\n");
    assert_eq!(loaded(&library("b:", 5, 100), Some(&later), NOW), None);
    let earlier = text.replace(&this, "-- version 0\n");
    assert!(loaded(&library("a:", 5, 100), Some(&earlier), NOW).is_some());
}

#[test]
fn no_rule_pattern_ends_the_lua_string_that_holds_it() {
    let mut hostile = library("a:", 5, 100);
    hostile.fleet.rules[0].0 = "^x]=]\"\\\n$".to_owned();
    let text = loaded(&hostile, None, NOW).unwrap();
    assert_eq!(fleet(&text), first(&hostile));
}

#[test]
fn functions_sign_with_the_secret_of_their_server() {
    let node = library("a:", 5, 100);
    let secret = |text: &str| node.secrets.learn(text.as_bytes()).unwrap();
    let (one, other) = (secret("0123456789abcdefghijkl"), secret("ABCDEFGHIJ-_9876543210"));
    let signed = |secret: &Secret, found: Option<&str>| {
        to_load_signing(secret, found, loaded(&node, found, NOW))
    };
    let text = signed(&one, None).unwrap();
    assert!(text.contains("\nlocal SECRET = '0123456789abcdefghijkl'\n"), "{text}");
    assert_eq!(signed(&one, Some(&text)), None);
    let again = signed(&other, Some(&text)).unwrap();
    assert_eq!(again, text.replace(one.as_str(), other.as_str()));
    // An earlier library had no secret. How a later one uses it is unknown here.
    let this = format!("-- version {VERSION}\n");
    let before = text.replace(&format!("local SECRET = '{}'\n", one.as_str()), "");
    let before = before.replace(&this, "-- version 3\n");
    assert_eq!(signed(&one, Some(&before)), Some(text.clone()));
    let later = text.replace(&this, "-- version 999\n");
    assert_eq!(signed(&other, Some(&later)), None);
}

#[test]
fn an_interrupted_history_counts_from_when_it_is_kept_again() {
    let (on, off): (&[_], &[_]) = (&[("^h$", 5)], &[("^h$", 0)]);
    assert_eq!(one_by_one(&[on]), [NOW]);
    assert_eq!(one_by_one(&[on, off, on]), [holds_at(2)]);
    assert_eq!(one_by_one(&[on, &[("^k$", 5)], on]), [holds_at(2)]);
    let all: &[_] = &[("^[^ ]*$", 5)];
    // A rule before it took some of its channels for a while.
    assert_eq!(one_by_one(&[all, &[("^h$", 0), ("^[^ ]*$", 5)], all]), [holds_at(2)]);
    let (before, after) = ([("^h[^:/ ]*$", 0), all[0]], [("^h1$", 5), all[0]]);
    assert_eq!(one_by_one(&[&before, &after])[0], holds_at(1));
}

#[test]
fn restarts_and_changed_sizes_or_orders_interrupt_no_history() {
    let (h, k, all) = (("^h%[[^ ]*$", 5), ("^k$", 5), ("^[^ ]*$", 5));
    assert_eq!(one_by_one(&[&[h, k], &[h, k]]), [NOW, NOW]);
    assert_eq!(one_by_one(&[&[h, k], &[(k.0, 6), (h.0, 7)]]), [NOW, NOW]);
    assert_eq!(one_by_one(&[&[h, ("^k$", 0)], &[("^k$", 0), h]]), [0, NOW]);
    // A channel leaves a larger rule, and returns to it.
    assert_eq!(one_by_one(&[&[all], &[h, all], &[all]]), [NOW]);
    assert_eq!(one_by_one(&[&[("^k$", 0), all], &[h, ("^k$", 0), all]]), [NOW, 0, NOW]);
}

#[test]
fn a_history_without_a_recorded_start_counts_as_always_kept() {
    let text = loaded(&library("a:", 5, 100), None, NOW).unwrap();
    let old = text.replace(r#""kept_since":[1000],"#, "");
    let old = old.replace(&format!("-- version {VERSION}\n"), "-- version 2\n");
    assert_ne!(old, text);
    for size in [5, 6] {
        let new = loaded(&library("a:", size, 200), Some(&old), NOW).unwrap();
        assert_eq!(fleet(&new).rules().kept_since("h:1"), Some(0));
    }
    let both = loaded(&library("b:", 5, 200), Some(&old), NOW).unwrap();
    assert_eq!(fleet(&both).rules, library("a:", 5, 100).fleet.rules);
}

#[test]
fn changed_rules_apply_a_moment_after_installation_and_the_old_ones_until_then() {
    let (off, on) = (library("a:", 0, 1), library("a:", 5, 2));
    let text = loaded(&off, None, NOW).unwrap();
    let updated = fleet(&loaded(&on, Some(&text), NOW + 5).unwrap());
    let holds = NOW + 5 + SETTLE_MILLIS;
    assert_eq!((updated.from, &updated.kept_since), (holds, &vec![holds]));
    let (before, left) = updated.rules_before(NOW + 6).expect("those before");
    assert_eq!((before.kept_since("h:1"), left), (None, SETTLE_MILLIS - 1));
    assert_eq!(updated.rules().kept_since("h:1"), Some(holds));
    assert!(updated.rules_before(holds).is_none());
    let far = LibraryFleet { from: SETTLE_MILLIS_MAX + 1, ..updated };
    assert!(far.rules_before(0).is_none(), "by the clock of another server");
}

#[test]
fn rules_replaced_before_they_applied_interrupt_no_history() {
    let text = loaded(&library("a:", 5, 1), None, NOW).unwrap();
    let text = loaded(&library("a:", 0, 2), Some(&text), starts_at(1)).unwrap();
    let text = loaded(&library("a:", 5, 3), Some(&text), starts_at(1) + 10).unwrap();
    assert_eq!(fleet(&text).kept_since, [NOW]);
    assert_eq!(fleet(&text).before.unwrap().rules, library("a:", 5, 1).fleet.rules);
}

#[test]
fn a_bypassed_history_starts_again_and_no_other_does() {
    let rules: &[_] = &[("^h:1$", 5), ("^h:[^ ]*$", 5), ("^k$", 0)];
    let node = of_rules("a:", rules, 1);
    let text = loaded(&node, None, NOW).unwrap();
    let load = |text: &str, channels, now| {
        node.to_load(Some(text), now, &BypassedHistory::on(channels), now).1
    };
    assert_eq!(load(&text, &["k", "elsewhere"], NOW + 9), None);
    let updated = load(&text, &["h:2", "k"], NOW + 9).unwrap();
    assert_eq!(fleet(&updated).kept_since, [NOW, NOW + 9, NOW]);
    assert_eq!(load(&updated, &["h:2"], NOW + 9), None, "once is enough");
    // A publication from before the new rules apply bypassed no history.
    let off = loaded(&of_rules("a:", &[("^x$", 0)], 2), None, NOW).unwrap();
    let node = of_rules("a:", rules, 3);
    let updated =
        node.to_load(Some(&off), NOW + 9, &BypassedHistory::on(&["h:1"]), NOW + 9).1.unwrap();
    let holds = NOW + 9 + SETTLE_MILLIS;
    assert_eq!(fleet(&updated).kept_since, [holds, holds, 0]);
}

#[test]
fn changed_rules_are_newer_than_all_a_node_knows_and_unchanged_ones_are_not() {
    let node = library("a:", 5, 1);
    let ahead = loaded(&library("a:", 6, u64::MAX / 2), None, NOW).unwrap();
    assert_eq!(loaded(&node, Some(&ahead), NOW), None, "those of the later node count");
    let same = Library { fleet: library("a:", 5, 1).fleet, ..node.clone() };
    assert_eq!(same.with_rules(&Rules::default()).fleet.since, u64::MAX / 2 + 1);
    let none = Library { fleet: of_rules("a:", &[], 7).fleet, ..node };
    assert_eq!(none.with_rules(&Rules::default()).fleet.since, 7);
}

#[test]
fn equal_rules_have_equal_hashes_and_different_rules_do_not() {
    let hash = library("a:", 5, 1).hash();
    assert_eq!(library("b:", 5, 2).hash(), hash);
    assert_ne!(library("a:", 6, 1).hash(), hash);
    let mut elsewhere = library("a:", 5, 1);
    elsewhere.fleet.database = 3;
    assert_ne!(elsewhere.hash(), hash);
    assert!(!library("a:", 5, 1).is_as_configured(&elsewhere.fleet));
}

#[test]
fn a_server_without_the_library_gets_the_known_starts_of_histories() {
    let node = library("a:", 5, 100);
    loaded(&node, None, NOW).unwrap();
    let elsewhere = loaded(&node, None, NOW + 9).unwrap();
    assert_eq!(fleet(&elsewhere).kept_since, [NOW]);
}

#[test]
fn leases_are_beside_the_rules_so_that_earlier_versions_read_the_library() {
    let node = library("a:", 5, 100);
    let leases = vec![30_000];
    let with_runs = Library {
        fleet: LibraryFleet { leases, since: 101, ..node.fleet.clone() },
        ..node.clone()
    };
    let without = loaded(&node, None, NOW).unwrap();
    assert!(!without.contains("\"leases\""), "{without}");
    let text = loaded(&with_runs, Some(&without), NOW).unwrap();
    assert!(text.contains("\"leases\":[30000]"), "{text}");
    // Versions before 9 read rules of three parts, and ignore fields that they do not know.
    let line = text.lines().find_map(|line| line.strip_prefix("local FLEETS = [=[")).unwrap();
    let json: serde_json::Value = serde_json::from_str(line.strip_suffix("]=]").unwrap()).unwrap();
    assert_eq!(json["a:"]["rules"][0].as_array().unwrap().len(), 3);
    // Until the new rules apply, runs follow those before.
    assert_eq!(fleet(&text).before.unwrap().leases, Vec::<u64>::new());
    let back = Library { fleet: LibraryFleet { since: 102, ..node.fleet.clone() }, ..node };
    let again = loaded(&back, Some(&text), starts_at(1)).unwrap();
    assert_eq!(fleet(&again).before.unwrap().leases, [30_000]);
    assert_ne!(fleet(&again).hash(), fleet(&text).hash());
}
