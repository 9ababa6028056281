//! Whether one pattern matches everything that another one matches.

use std::collections::HashSet;

use super::{MatchStep, Pattern, advance, begin};

/// The most states that are compared. Patterns of usual length have less than a hundred.
const STATES_MAX: usize = 10_000;

/// How far both patterns have matched: which of their first steps can match the bytes so far.
type BothReached = (Vec<bool>, Vec<bool>);

impl Pattern {
    /// Whether each channel that `other` matches matches this pattern too. False also where the comparison would take
    /// more than [`STATES_MAX`] states.
    pub fn covers(&self, other: &Self) -> bool {
        // A quick answer for most pairs of patterns.
        other.text[..other.prefix].starts_with(&self.text[..self.prefix])
            && covers(&self.all_steps(), &other.all_steps())
    }
}

/// Whether the steps match everything that `others` match. False also beyond [`STATES_MAX`].
pub(super) fn covers(own: &[MatchStep], others: &[MatchStep]) -> bool {
    explore(own, others, |mine, theirs| match theirs {
        StepsReached::End | StepsReached::Some if mine == StepsReached::None => Some(false),
        StepsReached::End if mine != StepsReached::End => Some(false),
        _ => None,
    })
    .unwrap_or(true)
}

/// Whether the steps match anything that `others` match too. True also beyond [`STATES_MAX`].
pub(super) fn overlaps(own: &[MatchStep], others: &[MatchStep]) -> bool {
    !explore(own, others, |mine, theirs| match (mine, theirs) {
        (StepsReached::End, StepsReached::End) => Some(false),
        _ => None,
    })
    .unwrap_or(true)
}

/// How far the steps of a pattern have matched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StepsReached {
    /// No text that goes on like this can match.
    None,
    Some,
    /// The text matches.
    End,
}

/// Follows both patterns through all texts that `others` may match, until `decide` knows the answer. `None`: it never
/// does. False if there are more than [`STATES_MAX`] states.
fn explore(
    own: &[MatchStep],
    others: &[MatchStep],
    decide: impl Fn(StepsReached, StepsReached) -> Option<bool>,
) -> Option<bool> {
    let bytes = distinct_bytes(own, others);
    let start: BothReached = (begin(own), begin(others));
    let (mut seen, mut left) = (HashSet::from([start.clone()]), vec![start]);
    while let Some((mine, theirs)) = left.pop() {
        for byte in &bytes {
            let (mut mine, mut theirs) = (mine.clone(), theirs.clone());
            let others_reached = reach(others, &mut theirs, *byte);
            if others_reached == StepsReached::None {
                continue;
            }
            let own_reached = reach(own, &mut mine, *byte);
            if let Some(decided) = decide(own_reached, others_reached) {
                return Some(decided);
            }
            if own_reached != StepsReached::None && seen.insert((mine.clone(), theirs.clone())) {
                left.push((mine, theirs));
            }
        }
        if seen.len() > STATES_MAX {
            return Some(false);
        }
    }
    None
}

fn reach(steps: &[MatchStep], reached: &mut [bool], byte: u8) -> StepsReached {
    match advance(steps, reached, byte) {
        false => StepsReached::None,
        true if reached[steps.len()] => StepsReached::End,
        true => StepsReached::Some,
    }
}

/// One of each kind of bytes that the steps treat differently. No wildcard matches a space.
fn distinct_bytes(own: &[MatchStep], others: &[MatchStep]) -> Vec<u8> {
    let both = || own.iter().chain(others);
    let literals: HashSet<u8> = both()
        .filter_map(|step| match step {
            MatchStep::Byte(byte) => Some(*byte),
            _ => None,
        })
        .collect();
    let wildcards: HashSet<MatchStep> =
        both().filter(|step| !matches!(step, MatchStep::Byte(_))).copied().collect();
    let mut kinds = HashSet::new();
    let others = (b'!'..=u8::MAX).filter(|byte| {
        let kind: Vec<bool> = wildcards.iter().map(|step| step.takes(*byte)).collect();
        !literals.contains(byte) && kinds.insert(kind)
    });
    let others: Vec<u8> = others.collect();
    literals.into_iter().chain(others).collect()
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
