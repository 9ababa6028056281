use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::rules::{SubscriptionPart, SubscriptionPattern};

fn insert(trie: &mut PatternTrie<BTreeSet<usize>>, pattern: &SubscriptionPattern, number: usize) {
    for steps in pattern.alternatives() {
        trie.get_or_insert_with(steps, BTreeSet::new).insert(number);
    }
}

fn remove(trie: &mut PatternTrie<BTreeSet<usize>>, pattern: &SubscriptionPattern, number: usize) {
    for steps in pattern.alternatives() {
        let Some(numbers) = trie.get_mut(steps) else { continue };
        numbers.remove(&number);
        if numbers.is_empty() {
            trie.remove(steps);
        }
    }
}

fn matching(trie: &PatternTrie<BTreeSet<usize>>, name: &str) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    trie.for_each_match(name, |numbers| found.extend(numbers));
    found
}

fn pattern() -> impl Strategy<Value = SubscriptionPattern> {
    let level = prop_oneof!["[ab:/]{1,3}".prop_map(Some), Just(None),];
    prop_oneof![
        "[ab:/*]{1,8}".prop_filter_map("a pattern", |text| SubscriptionPattern::parse(&text).ok()),
        proptest::collection::vec(level, 1..4).prop_filter_map("a pattern", |levels| {
            let parts = |class| {
                let part = |level: &Option<String>| match level {
                    Some(text) => {
                        SubscriptionPart::Literal(Box::leak(text.clone().into_boxed_str()))
                    }
                    None => SubscriptionPart::Run(class),
                };
                levels.iter().map(part).collect::<Vec<_>>()
            };
            let both = [parts(ByteClass::Level), parts(ByteClass::LevelWithoutDollar)];
            SubscriptionPattern::of_parts("x", both).ok()
        }),
    ]
}

proptest! {
    #[test]
    fn the_trie_finds_exactly_the_patterns_that_match(
        patterns in proptest::collection::vec((pattern(), any::<bool>()), 1..30),
        names in proptest::collection::vec("[ab:/$]{1,10}", 20),
    ) {
        let mut trie = PatternTrie::default();
        for (number, (pattern, _)) in patterns.iter().enumerate() {
            insert(&mut trie, pattern, number);
        }
        for name in &names {
            let expected: BTreeSet<usize> = (0..patterns.len()).filter(|at| patterns[*at].0.matches(name)).collect();
            prop_assert_eq!(matching(&trie, name), expected, "{}", name);
        }
        for (number, (pattern, _)) in patterns.iter().enumerate().filter(|(_, (_, stays))| !stays) {
            remove(&mut trie, pattern, number);
        }
        for name in &names {
            let expected: BTreeSet<usize> = (0..patterns.len())
                .filter(|at| patterns[*at].1 && patterns[*at].0.matches(name))
                .collect();
            prop_assert_eq!(matching(&trie, name), expected, "{}", name);
        }
        for (number, (pattern, _)) in patterns.iter().enumerate().filter(|(_, (_, stays))| *stays) {
            remove(&mut trie, pattern, number);
        }
        prop_assert!(trie.is_empty() && trie.nodes.len() == 1, "an empty trie holds no nodes");
    }
}

#[test]
fn each_matching_pattern_is_found_once_however_many_ways_lead_to_it() {
    let mut trie = PatternTrie::default();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in ["**", "*a*", "**a**", "a*", "aaa"] {
        let pattern = SubscriptionPattern::parse(text).unwrap();
        for steps in pattern.alternatives() {
            trie.get_or_insert_with(steps, || text);
        }
    }
    trie.for_each_match("aaa", |text| *counts.entry(text).or_default() += 1);
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [1; 5], "{counts:?}");
}

#[test]
fn the_time_of_a_match_does_not_grow_with_the_number_of_patterns() {
    let mut trie = PatternTrie::default();
    for number in 0..10_000usize {
        let pattern = SubscriptionPattern::parse(&format!("orders:eu:{number}:*")).unwrap();
        insert(&mut trie, &pattern, number);
    }
    let mut ways = 0;
    let mut next = OpenWays::default();
    let mut open = OpenWays::default();
    trie.enter(ROOT, &mut open);
    for byte in "orders:eu:777:x".bytes() {
        next.clear();
        open.list.iter().for_each(|way| trie.advance(*way, byte, &mut next));
        std::mem::swap(&mut open, &mut next);
        ways += open.list.len();
    }
    assert!(ways <= 2 * "orders:eu:777:x".len(), "{ways}");
    assert_eq!(matching(&trie, "orders:eu:777:x"), BTreeSet::from([777]));
}

/// For `make bench`, with optimisations.
#[test]
#[ignore = "it measures"]
fn matching_a_publication_among_100_000_patterns_takes_at_most_two_microseconds() {
    const PATTERNS: u32 = 100_000;
    type Named = fn(u32) -> String;
    let shapes: [(Named, Named); 3] = [
        (|it| format!("orders:eu:{it}:*"), |it| format!("orders:eu:{it}:item-7")),
        (|it| format!("orders:{it}:*:paid"), |it| format!("orders:{it}:eu:paid")),
        (|it| format!("orders:*:{it}"), |it| format!("orders:eu:{it}")),
    ];
    for (pattern, name) in shapes {
        let mut trie = PatternTrie::default();
        for number in 0..PATTERNS {
            let pattern = SubscriptionPattern::parse(&pattern(number)).unwrap();
            pattern.alternatives().for_each(|steps| {
                trie.get_or_insert_with(steps, || number);
            });
        }
        // In no order, so that each match finds other nodes than the one before.
        let names: Vec<String> = (0..PATTERNS).map(|it| name(it * 7 % PATTERNS)).collect();
        let run = || {
            let (mut found, since) = (0, std::time::Instant::now());
            names.iter().for_each(|name| trie.for_each_match(name, |_| found += 1));
            assert_eq!(found, PATTERNS);
            since.elapsed() / PATTERNS
        };
        // Others use the machine too.
        let best = (0..5).map(|_| run()).min().unwrap_or_default();
        println!("{}: {best:?} a publication", pattern(0));
        assert!(best <= std::time::Duration::from_micros(2), "{best:?}");
    }
}
