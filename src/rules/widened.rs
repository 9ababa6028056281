//! What new rules allow that the old ones did not.

use std::fmt;

use super::{Access, Pattern, Rule, RuleTable};

/// Access that more clients have than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widened {
    /// The channels: a pattern of the old rules or the new. None: channels that no rule matches.
    pub pattern: Option<String>,
    /// `subscribe` or `publish`.
    pub right: &'static str,
    from: AllowedPrincipals,
    to: AllowedPrincipals,
}

/// The clients that a rule allows something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AllowedPrincipals {
    access: Access,
    /// Only the user named in the channel.
    only_user: bool,
}

impl AllowedPrincipals {
    fn is_wider_than(self, other: Self) -> bool {
        let loses_user = other.only_user && !self.only_user && self.access != Access::Nobody;
        self.access.breadth() > other.access.breadth() || loses_user
    }
}

impl fmt::Display for AllowedPrincipals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.access.as_str())?;
        match self.only_user && self.access != Access::Nobody {
            true => f.write_str(" ({user} itself)"),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Widened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, right, from, to } = self;
        match pattern {
            Some(pattern) => write!(f, "rule {pattern:?}, {right}: {from} -> {to}"),
            None => write!(f, "channels without a rule, {right}: {from} -> {to}"),
        }
    }
}

impl RuleTable {
    /// What these rules allow that the `old` ones did not. Checked with a sample channel for each pattern, old and
    /// new, so that it includes channels that a removed rule leaves to later rules.
    pub fn widened_from(&self, old: &Self) -> Vec<Widened> {
        let mut patterns: Vec<&Pattern> =
            old.iter().chain(self.iter()).map(|rule| &rule.pattern).collect();
        let mut seen = std::collections::HashSet::new();
        patterns.retain(|pattern| seen.insert(pattern.as_str()));
        let of_rules = patterns.into_iter().flat_map(|pattern| {
            let sample = pattern.sample();
            let (before, now) = (old.audiences(Some(&sample)), self.audiences(Some(&sample)));
            wider(Some(pattern.as_str()), before, now)
        });
        let others = wider(None, old.audiences(None), self.audiences(None));
        of_rules.chain(others).collect()
    }

    /// Who may subscribe and publish. None: to channels without a rule.
    fn audiences(&self, channel: Option<&str>) -> [AllowedPrincipals; 2] {
        let rule: Option<&Rule> = channel.and_then(|it| self.find(it)).map(|(_, rule)| rule);
        let policy = self.policy(rule);
        let only_user = rule.is_some_and(|rule| rule.pattern.names_user());
        [policy.subscribe, policy.publish].map(|access| AllowedPrincipals { access, only_user })
    }
}

fn wider(
    pattern: Option<&str>,
    before: [AllowedPrincipals; 2],
    now: [AllowedPrincipals; 2],
) -> Vec<Widened> {
    let both = ["subscribe", "publish"].into_iter().zip(before.into_iter().zip(now));
    let wider = both.filter(|(_, (from, to))| to.is_wider_than(*from));
    let pattern = || pattern.map(str::to_owned);
    wider.map(|(right, (from, to))| Widened { pattern: pattern(), right, from, to }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_with;

    fn widened(old: &str, new: &str, tokens: bool) -> Vec<String> {
        let table = |list| read_with(list, tokens).unwrap().current();
        let widened = table(new).widened_from(&table(old));
        widened.iter().map(ToString::to_string).collect()
    }

    const NOBODY: &str = r#"[{ pattern = "a:*", subscribe = "nobody", publish = "nobody" }]"#;

    #[test]
    fn each_widened_right_is_named() {
        let new = r#"[{ pattern = "a:*", subscribe = "user", publish = "token" }]"#;
        let said =
            [r#"rule "a:*", subscribe: nobody -> user"#, r#"rule "a:*", publish: nobody -> token"#];
        assert_eq!(widened(NOBODY, new, true), said);
        assert_eq!(widened(new, NOBODY, true), [""; 0]);
        assert_eq!(widened(new, new, true), [""; 0]);
    }

    #[test]
    fn a_truncated_file_that_widens_access_is_named() {
        let said = [
            r#"rule "a:*", subscribe: nobody -> anyone"#,
            r#"rule "a:*", publish: nobody -> anyone"#,
        ];
        assert_eq!(widened(NOBODY, r#"[{ pattern = "a:*" }]"#, false), said);
        let all = [
            r#"channels without a rule, subscribe: nobody -> anyone"#,
            r#"channels without a rule, publish: nobody -> anyone"#,
        ];
        assert_eq!(widened(NOBODY, "[]", false)[2..], all);
    }

    #[test]
    fn access_that_a_removed_rule_leaves_to_later_rules_is_named() {
        let open = r#"{ pattern = "**", subscribe = "user", publish = "user" }"#;
        let guarded = format!("[{}, {open}]", NOBODY.trim_matches(['[', ']']));
        let said =
            [r#"rule "a:*", subscribe: nobody -> user"#, r#"rule "a:*", publish: nobody -> user"#];
        assert_eq!(widened(&guarded, &format!("[{open}]"), true), said);
    }

    #[test]
    fn a_rule_that_no_longer_requires_its_user_is_named() {
        let own = r#"[{ pattern = "u:{user}", subscribe = "user", publish = "nobody" }]"#;
        let all = r#"[{ pattern = "u:*", subscribe = "user", publish = "nobody" }]"#;
        let said = r#"rule "u:{user}", subscribe: user ({user} itself) -> user"#;
        assert!(
            widened(own, all, true).contains(&said.to_owned()),
            "{:?}",
            widened(own, all, true)
        );
        assert_eq!(widened(all, own, true), [""; 0]);
    }
}
