//! Patterns of rules match exactly the names that their definition includes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidegate::rules::Pattern;

use super::check_property;
use super::mutated_seeds::patterns::matches_by_definition;

const PARTS: [&str; 10] = ["a", "b", "ab", ":", "/", "é", "*", "*", "**", "{user}"];

#[test]
fn a_pattern_matches_as_its_definition_requires() {
    let pattern = vec(select(&PARTS[..]), 1..12).prop_map(|parts| parts.concat());
    let name = vec(select(&["a", "b", ":", "/", "é", " "][..]), 0..14).prop_map(|it| it.concat());
    check_property(5000, (pattern, name), |(pattern, name)| {
        let parsed = Pattern::parse(&pattern).expect("it consists of valid parts");
        prop_assert_eq!(parsed.matches(&name), matches_by_definition(&pattern, &name));
        Ok(())
    });
}
