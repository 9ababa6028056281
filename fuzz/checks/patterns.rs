//! A rule's pattern compared with a simple implementation of its definition.

use tidegate::rules::{Pattern, SubscriptionPattern};

/// The text up to the first line end is the pattern, the rest the name of a channel.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (pattern, name) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(parsed) = Pattern::parse(pattern) else { return };
    assert_eq!(parsed.as_str(), pattern);
    assert_eq!(
        parsed.matches(name),
        matches_by_definition(pattern, name),
        "{pattern:?} and {name:?}"
    );
    assert!(parsed.lua().starts_with('^') && parsed.lua().ends_with('$'));
    assert!(parsed.lua_depth() as usize <= pattern.len());
    if let Ok(subscription) = SubscriptionPattern::parse(pattern) {
        let matches = matches_by_definition(pattern, name);
        assert_eq!(subscription.matches(name), matches, "{pattern:?} and {name:?}");
        assert!(!matches || name.is_empty() || subscription.may_overlap(&parsed, None));
    }
}

/// Whether the pattern matches the name by its definition, computed prefix by prefix.
pub fn matches_by_definition(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (parts(pattern.as_bytes()), name.as_bytes());
    let within = |byte: u8| !b":/ ".contains(&byte);
    // `matched[j]`: the parts so far can match the first `j` bytes of the name.
    let mut matched = vec![false; name.len() + 1];
    matched[0] = true;
    for part in pattern {
        let mut next = vec![false; name.len() + 1];
        for from in (0..=name.len()).filter(|from| matched[*from]) {
            let run = |fits: &dyn Fn(u8) -> bool| {
                name[from..].iter().take_while(|byte| fits(**byte)).count()
            };
            match part {
                Part::Byte(byte) if name.get(from) == Some(&byte) => next[from + 1] = true,
                Part::Byte(_) => {}
                Part::Within => next[from..=from + run(&within)].fill(true),
                Part::Across => next[from..=from + run(&|byte| byte != b' ')].fill(true),
                Part::User => next[from + 1..from + 1 + run(&within)].fill(true),
            }
        }
        matched = next;
    }
    matched[name.len()]
}

enum Part {
    Byte(u8),
    /// `*`
    Within,
    /// `**`
    Across,
    /// `{user}`
    User,
}

fn parts(mut pattern: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while let [first, rest @ ..] = pattern {
        let (part, rest) = match (first, rest) {
            (b'*', [b'*', rest @ ..]) => (Part::Across, rest),
            (b'*', _) => (Part::Within, rest),
            (b'{', _) => (Part::User, &rest["user}".len()..]),
            (byte, _) => (Part::Byte(*byte), rest),
        };
        parts.push(part);
        pattern = rest;
    }
    parts
}
