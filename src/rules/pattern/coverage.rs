//! Whether one pattern matches everything that another one matches.

use std::collections::HashSet;

use super::{MatchStep, Pattern, advance, begin, steps};

/// The most states that are compared. Patterns of usual length have less than a hundred.
const STATES_MAX: usize = 10_000;

/// How far both patterns have matched: which of their first steps can match the bytes so far.
type BothReached = (Vec<bool>, Vec<bool>);

impl Pattern {
    /// Whether each channel that `other` matches matches this pattern too. False also where the comparison would take
    /// more than [`STATES_MAX`] states.
    pub fn covers(&self, other: &Self) -> bool {
        // A quick answer for most pairs of patterns.
        if !other.text[..other.prefix].starts_with(&self.text[..self.prefix]) {
            return false;
        }
        let (own, others) = (steps(&self.text, None), steps(&other.text, None));
        let bytes = distinct_bytes(&own, &others);
        let start: BothReached = (begin(&own), begin(&others));
        let (mut seen, mut left) = (HashSet::from([start.clone()]), vec![start]);
        while let Some((mine, theirs)) = left.pop() {
            for byte in &bytes {
                let (mut mine, mut theirs) = (mine.clone(), theirs.clone());
                if !advance(&others, &mut theirs, *byte) {
                    continue;
                }
                let is_alive = advance(&own, &mut mine, *byte);
                if !is_alive || (theirs[others.len()] && !mine[own.len()]) {
                    return false;
                }
                if seen.insert((mine.clone(), theirs.clone())) {
                    left.push((mine, theirs));
                }
            }
            if seen.len() > STATES_MAX {
                return false;
            }
        }
        true
    }
}

/// One of each kind of bytes that the steps treat differently. No wildcard matches a space.
fn distinct_bytes(own: &[MatchStep], others: &[MatchStep]) -> Vec<u8> {
    let literals: HashSet<u8> = own
        .iter()
        .chain(others)
        .filter_map(|step| match step {
            MatchStep::Byte(byte) => Some(*byte),
            _ => None,
        })
        .chain(*b":/")
        .collect();
    let other = (b'!'..=u8::MAX).find(|byte| !literals.contains(byte));
    literals.into_iter().chain(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, other: &str) -> bool {
        Pattern::parse(pattern).unwrap().covers(&Pattern::parse(other).unwrap())
    }

    #[test]
    fn a_pattern_covers_those_whose_channels_it_all_matches() {
        for (pattern, other) in [
            ("**", "*"),
            ("**", "chat:{user}:**"),
            ("a:**", "a:*"),
            ("a:**", "a:b:*:c"),
            ("a*", "ab"),
            ("*:*", "{user}:a"),
            ("*", "{user}"),
            // No channel has an empty name.
            ("{user}", "*"),
            ("**a**", "*a"),
            ("*ab*", "*a*ab"),
            ("é:*", "é:ü"),
        ] {
            assert!(covers(pattern, other), "{pattern} covers {other}");
        }
    }

    #[test]
    fn a_pattern_does_not_cover_one_with_a_channel_that_it_does_not_match() {
        for (pattern, other) in [
            ("*", "**"),
            ("a:*", "a:**"),
            ("a:{user}", "a:*"),
            ("a:*", "b:*"),
            ("ab", "a*"),
            ("*a", "*"),
            ("*ab*", "*a*b*"),
            ("a:*:b", "a:*"),
        ] {
            assert!(!covers(pattern, other), "{pattern} does not cover {other}");
        }
    }

    #[test]
    fn the_longest_patterns_with_most_wildcards_are_compared() {
        for part in ["*a", "**ab", "{user}:"] {
            let long = part.repeat(Pattern::BYTES_MAX / part.len());
            assert!(covers(&long, &long), "{long}");
            assert!(!covers(&long, &long[part.len()..]), "{long}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_covered_pattern_matches_nothing_that_the_other_does_not(
            pattern in "[ab:*]{1,5}",
            other in "[ab:*]{1,5}",
            names in proptest::collection::vec("[ab:c]{1,5}", 30),
        ) {
            let [one, two] = [&pattern, &other].map(|text| Pattern::parse(text).unwrap());
            let escaped = names.iter().find(|name| two.matches(name) && !one.matches(name));
            proptest::prop_assert!(!one.covers(&two) || escaped.is_none(), "{:?}", escaped);
        }
    }
}
