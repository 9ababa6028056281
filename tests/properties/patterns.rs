//! Patterns of rules mean what their definition says.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidegate::rules::Pattern;

use super::anything::patterns::means;
use super::holds;

const WORDS: [&str; 10] = ["a", "b", "ab", ":", "/", "é", "*", "*", "**", "{user}"];

#[test]
fn a_pattern_matches_what_it_means() {
    let pattern = vec(select(&WORDS[..]), 1..12).prop_map(|words| words.concat());
    let name = vec(select(&["a", "b", ":", "/", "é", " "][..]), 0..14).prop_map(|it| it.concat());
    holds(5000, (pattern, name), |(pattern, name)| {
        let parsed = Pattern::parse(&pattern).expect("it is made of what patterns are made of");
        prop_assert_eq!(parsed.matches(&name), means(&pattern, &name));
        Ok(())
    });
}
