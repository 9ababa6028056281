//! The pattern of a client's subscription: in the grammar of rules, or made of parts by a protocol with another one.

use super::coverage::{covers, overlaps};
use super::step::{can_match, depth};
use super::{ByteClass, MatchStep, Pattern, PatternPart, USER, is_segment, parts, steps};

/// A client's pattern: the channels that match any of its alternatives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionPattern {
    text: Box<str>,
    /// 1 to [`SubscriptionPattern::ALTERNATIVES_MAX`].
    alternatives: Box<[Box<[MatchStep]>]>,
}

/// A part of an alternative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionPart<'a> {
    Literal(&'a str),
    /// One byte of the class.
    One(ByteClass),
    /// Any number of bytes of the class, also none.
    Run(ByteClass),
}

/// Why a text is no pattern of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubscriptionPattern {
    #[error("a pattern is 1 to 255 bytes without white space, control characters or braces")]
    Text,
    #[error("a pattern has at most {} wildcards", SubscriptionPattern::WILDCARDS_MAX)]
    Wildcards,
    #[error(
        "the pattern has more than {} wildcards that could end in several places: put : or / behind them",
        SubscriptionPattern::DEPTH_MAX
    )]
    Depth,
}

impl SubscriptionPattern {
    /// The longest text, and the longest alternative, in bytes: as long as a channel's name.
    pub const BYTES_MAX: usize = 255;

    /// The most wildcards of an alternative.
    pub const WILDCARDS_MAX: usize = 16;

    /// The most wildcards of an alternative that must be tried against each other, which bounds the time of a match.
    pub const DEPTH_MAX: u32 = 2;

    /// The most alternatives.
    pub const ALTERNATIVES_MAX: usize = 4;

    /// Parses a pattern in the grammar of rules, without `{user}`.
    pub fn parse(text: &str) -> Result<Self, InvalidSubscriptionPattern> {
        let pattern = Pattern::parse(text).map_err(|_| InvalidSubscriptionPattern::Text)?;
        if pattern.names_user() {
            return Err(InvalidSubscriptionPattern::Text);
        }
        let written = parts(text).filter_map(|part| match part {
            PatternPart::Literal(literal) => Some(SubscriptionPart::Literal(literal)),
            PatternPart::Within => Some(SubscriptionPart::Run(ByteClass::Segment)),
            PatternPart::Across => Some(SubscriptionPart::Run(ByteClass::Any)),
            PatternPart::User => None,
        });
        Self::of_parts(text, [written.collect()])
    }

    /// A pattern of another grammar. `text`: as the client wrote it, by which it is told of the pattern.
    pub fn of_parts<'a>(
        text: &str,
        alternatives: impl IntoIterator<Item = Vec<SubscriptionPart<'a>>>,
    ) -> Result<Self, InvalidSubscriptionPattern> {
        let steps: Result<Vec<_>, _> =
            alternatives.into_iter().map(|parts| steps_of(&parts)).collect();
        let alternatives = steps?;
        let fits = (1..=Self::ALTERNATIVES_MAX).contains(&alternatives.len());
        if !fits || text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(InvalidSubscriptionPattern::Text);
        }
        Ok(Self { text: text.into(), alternatives: alternatives.into() })
    }

    /// As the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn alternatives(&self) -> impl Iterator<Item = &[MatchStep]> {
        self.alternatives.iter().map(|steps| &**steps)
    }

    /// Whether the channel matches. The hub matches all patterns at once instead.
    pub fn matches(&self, channel: &str) -> bool {
        self.alternatives()
            .any(|steps| can_match(steps, &mut vec![false; steps.len() + 1], channel.as_bytes()))
    }

    /// Whether all of its channels match the rule's pattern, where `{user}` also matches nothing: no client has such a
    /// channel.
    pub fn is_inside(&self, rule: &Pattern) -> bool {
        let rule = steps(&rule.as_str().replace(USER, "*"), None);
        self.alternatives().all(|steps| covers(&rule, steps))
    }

    /// The same, with `{user}` only for this user. False without a user where the pattern names one.
    pub fn is_inside_for(&self, pattern: &Pattern, user: Option<&str>) -> bool {
        let user = user.filter(|user| is_segment(user));
        if pattern.names_user() && user.is_none() {
            return false;
        }
        let own = steps(pattern.as_str(), user);
        self.alternatives().all(|steps| covers(&own, steps))
    }

    /// Whether any of its channels may match the other pattern, with `{user}` only for this user.
    pub fn may_overlap(&self, other: &Pattern, user: Option<&str>) -> bool {
        let other = steps(other.as_str(), user);
        self.alternatives().any(|steps| overlaps(&other, steps))
    }
}

fn steps_of(
    parts: &[SubscriptionPart<'_>],
) -> Result<Box<[MatchStep]>, InvalidSubscriptionPattern> {
    let mut steps = Vec::new();
    for part in parts {
        match part {
            SubscriptionPart::Literal(literal) => {
                steps.extend(literal.bytes().map(MatchStep::Byte));
            }
            SubscriptionPart::One(class) => steps.push(MatchStep::One(*class)),
            // Two of them match no more than one, and would cost time.
            SubscriptionPart::Run(class) if steps.last() == Some(&MatchStep::Run(*class)) => {}
            SubscriptionPart::Run(class) => steps.push(MatchStep::Run(*class)),
        }
        if steps.len() > SubscriptionPattern::BYTES_MAX {
            return Err(InvalidSubscriptionPattern::Text);
        }
    }
    if steps.is_empty() {
        return Err(InvalidSubscriptionPattern::Text);
    }
    let wildcards = steps.iter().filter(|step| !matches!(step, MatchStep::Byte(_))).count();
    match () {
        () if wildcards > SubscriptionPattern::WILDCARDS_MAX => {
            Err(InvalidSubscriptionPattern::Wildcards)
        }
        () if depth(&steps) > SubscriptionPattern::DEPTH_MAX => {
            Err(InvalidSubscriptionPattern::Depth)
        }
        () => Ok(steps.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_pattern_is_bounded_in_bytes_wildcards_and_depth() {
        use InvalidSubscriptionPattern::{Depth, Text, Wildcards};
        let long = "a".repeat(256);
        let many = "*:".repeat(17);
        for (text, why) in [
            ("", Text),
            ("a b", Text),
            ("a:{user}", Text),
            (&long, Text),
            (&many, Wildcards),
            ("*a*b*c:d", Depth),
        ] {
            assert_eq!(SubscriptionPattern::parse(text), Err(why), "{text}");
        }
        for text in ["a", "**", "orders:eu:*", "orders:*:x*", &"*:".repeat(16)] {
            assert!(SubscriptionPattern::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_pattern_of_parts_matches_by_the_classes_of_its_wildcards() {
        use SubscriptionPart::{Literal, One, Run};
        let levels = SubscriptionPattern::of_parts(
            "sport/+/x:y",
            [vec![Literal("sport/"), Run(ByteClass::Level), Literal("/x:y")]],
        )
        .unwrap();
        assert!(levels.matches("sport/a:b/x:y") && levels.matches("sport//x:y"));
        assert!(!levels.matches("sport/a/b/x:y"));
        let all = SubscriptionPattern::of_parts(
            "#",
            [vec![One(ByteClass::AnyWithoutDollar), Run(ByteClass::Any)]],
        )
        .unwrap();
        assert!(all.matches("a/$b") && !all.matches("$SYS/x"));
    }

    #[test]
    fn a_pattern_overlaps_another_one_that_matches_any_of_its_channels() {
        for (pattern, other, user, expected) in [
            ("orders:eu:*", "orders:**", None, true),
            ("orders:eu:*", "orders:eu:7", None, true),
            ("orders:eu:*", "orders:us:*", None, false),
            ("orders:*:x", "orders:eu:*", None, true),
            ("user:u1:*", "user:{user}:*", Some("u1"), true),
            ("user:u1:*", "user:{user}:*", Some("u2"), false),
            ("user:u1:*", "user:{user}:*", None, true),
        ] {
            let subscription = SubscriptionPattern::parse(pattern).unwrap();
            let rule = Pattern::parse(other).unwrap();
            assert_eq!(subscription.may_overlap(&rule, user), expected, "{pattern} and {other}");
        }
    }
}
