//! URL patterns as patterns of texts: literals, `:name`, `*`, and groups in braces, also with `?` or `*`.
//!
//! The pattern is compared with the topic as it is written: components are not canonicalised. Regular expressions in
//! parentheses, and the other modifiers, are not offered.

use super::matcher::{Class, Matcher, MatcherSteps};

/// The pattern's matcher. None: the text is not such a pattern, or has too many steps.
pub fn matcher(pattern: &str) -> Option<Matcher> {
    let mut steps = MatcherSteps::default();
    let rest = add(&mut steps, pattern, false)?;
    match rest {
        "" => steps.finish().ok(),
        _ => None,
    }
}

/// Adds the parts up to the end, or in a group up to its closing brace. Returns what follows.
fn add<'a>(steps: &mut MatcherSteps, pattern: &'a str, in_group: bool) -> Option<&'a str> {
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if steps.is_too_long() {
            return None;
        }
        let behind = &rest[first.len_utf8()..];
        rest = match first {
            '}' if in_group => return Some(behind),
            '{' if !in_group => {
                let begin = steps.here();
                // A group that may be left out needs its fork in front.
                let skipped = steps.fork();
                let behind = add(steps, behind, true)?;
                match behind.chars().next() {
                    Some('?') => {
                        steps.close(skipped);
                        &behind[1..]
                    }
                    Some('*') => {
                        steps.repeat(begin);
                        steps.close(skipped);
                        &behind[1..]
                    }
                    Some('+') => return None,
                    _ => {
                        steps.make_plain(skipped);
                        behind
                    }
                }
            }
            '{' | '}' | '(' | ')' => return None,
            '\\' => {
                let literal = behind.chars().next()?;
                steps.literal(&behind[..literal.len_utf8()]);
                &behind[literal.len_utf8()..]
            }
            '*' => {
                steps.any(Class::Any);
                behind
            }
            ':' => {
                let end = behind.find(|c: char| !is_name(c)).unwrap_or(behind.len());
                let is_named = behind.starts_with(|c: char| is_name(c) && !c.is_ascii_digit());
                if is_named {
                    steps.one(Class::Segment);
                    steps.any(Class::Segment);
                    if behind[end..].starts_with(['?', '*', '+']) {
                        return None;
                    }
                    &behind[end..]
                } else {
                    steps.literal(":");
                    behind
                }
            }
            _ => {
                steps.literal(&rest[..first.len_utf8()]);
                behind
            }
        };
    }
    (!in_group).then_some(rest)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        matcher(pattern).unwrap().matches(text)
    }

    #[test]
    fn a_url_pattern_matches_segments_wildcards_and_optional_groups() {
        for (pattern, text) in [
            ("https://a.test/books/:id", "https://a.test/books/1"),
            ("https://a.test:8080/books/*", "https://a.test:8080/books/1/2"),
            ("/s/:match_type/x{/:subscriber}?", "/s/exact/x"),
            ("/s/:match_type/x{/:subscriber}?", "/s/exact/x/urn%3A1"),
            ("/a{/b}*/c", "/a/b/b/c"),
            ("/a{/b}*/c", "/a/c"),
            ("/a{b}c", "/abc"),
            ("/a\\:b", "/a:b"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("https://a.test/books/:id", "https://a.test/books/"),
            ("https://a.test/books/:id", "https://a.test/books/1/2"),
            ("/s/:match_type/x{/:subscriber}?", "/s/exact/x/a/b"),
            ("/a{b}c", "/ac"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        for invalid in ["{", "}", "(a)", "{a}+", ":id?", "{{a}}", "\\"] {
            assert_eq!(matcher(invalid), None, "{invalid}");
        }
    }
}
