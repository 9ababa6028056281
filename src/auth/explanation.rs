//! Explains which rule applies to a channel, who may subscribe and publish there, and why: for
//! `tidegate explain` and `GET /api/explain`.

use std::fmt::Write;

use super::access::{self, AccessReason, Decision, Right};
use super::{Auth, Identity, TokenRefused};
use crate::rules::{Access, ControlChannel, Delivery, RuleTable, Run};

/// The given token, and the result of its check.
pub enum TokenStatus {
    Nothing,
    /// `auth.mode` is `none`.
    Needless,
    Token(Result<Identity, TokenRefused>),
}

impl TokenStatus {
    /// Checks the token as a session would.
    pub async fn of(token: Option<&str>, auth: &Auth) -> Self {
        match token {
            None => Self::Nothing,
            Some(_) if !auth.is_on() => Self::Needless,
            Some(token) => Self::Token(auth.identify(token).await),
        }
    }

    fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Token(Ok(identity)) => Some(identity),
            _ => None,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Nothing => "none given: as an anonymous client".to_owned(),
            Self::Needless => {
                "not checked: auth.mode is none, every client is anonymous".to_owned()
            }
            Self::Token(Err(refused)) => {
                format!("refused: {refused}; the connection is closed with 4001")
            }
            Self::Token(Ok(identity)) => match &identity.user {
                Some(user) => format!("valid, of the user {user:?}"),
                None => "valid, of no user: it has no sub".to_owned(),
            },
        }
    }
}

/// A line for each part of the channel's policy. `origin`: the source of the rules.
pub fn explain(table: &RuleTable, origin: &str, channel: &str, shown: &TokenStatus) -> String {
    let policy = table.of(channel);
    let rule = match table.find(channel) {
        Some((i, rule)) => {
            let origin = match table.built_in() {
                Some(built_in) => built_in.origin.to_owned(),
                None => format!("from {origin}"),
            };
            format!("rules[{i}] {:?}, {origin}", rule.pattern.as_str())
        }
        None if table.is_empty() => "there are none".to_owned(),
        None => "none matches".to_owned(),
    };
    let history = policy.history.map_or_else(
        || "none is kept".to_owned(),
        |kept| format!("{} publications, {} seconds", kept.size, kept.age.as_secs()),
    );
    let delivery = match policy.delivery {
        Delivery::Every => "every publication",
        Delivery::Latest => "only the latest to a slow consumer",
    };
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name:<10} {value}").expect("a text takes every line");
    };
    line("channel", channel);
    line("rule", &rule);
    line("token", &shown.words());
    if let Some(info) = shown.identity().and_then(|identity| identity.info.as_ref()) {
        line("info", info.json());
    }
    for (name, right) in [("subscribe", Right::Subscribe), ("publish", Right::Publish)] {
        line(name, &answer(&access::decide(table, shown.identity(), right, channel), table));
    }
    line("history", &history);
    line("presence", if policy.presence { "is kept" } else { "none is kept" });
    line("delivery", delivery);
    let patterns = match policy.patterns {
        true => "clients may subscribe to patterns that only match channels of this rule",
        false => "no pattern shows it: the rule has no patterns = true",
    };
    line("patterns", patterns);
    if let Some(run) = policy.run {
        line("run", &run_words(run, table.control(channel)));
    }
    text
}

fn run_words(run: Run, control: Option<&ControlChannel>) -> String {
    let mut words =
        format!("ends as abandoned after {} seconds without its worker", run.lease.as_secs());
    if let Some(merge) = run.merge {
        words += &format!("; texts are joined for {} ms", merge.rollup.as_millis());
    }
    if let Some(control) = control {
        words += &format!("; what clients publish goes to {control}");
    }
    words
}

fn answer(decision: &Decision<'_>, table: &RuleTable) -> String {
    let says = match (decision.rule, decision.access) {
        (Some((i, _)), access) => format!("rules[{i}] allows {}", audience(access)),
        (None, Access::Nobody) => "no rule matches, and then no client has access".to_owned(),
        (None, Access::Token) => {
            "without rules, a token that lists the channel is required".to_owned()
        }
        (None, _) => {
            debug_assert!(
                table.is_empty() || table.built_in().is_some(),
                "what no rule matches is denied"
            );
            "without rules and tokens, every client has access to every channel".to_owned()
        }
    };
    let because = match decision.reason {
        AccessReason::Anyone | AccessReason::Nobody => String::new(),
        AccessReason::HasToken => "; the token is valid".to_owned(),
        AccessReason::Lists(pattern) => format!("; the token lists {:?}", pattern.as_str()),
        AccessReason::Channels => "; the token lists it in channels".to_owned(),
        AccessReason::Topic => "; the token lists it as a topic".to_owned(),
        AccessReason::Signed => "; an application has signed for it".to_owned(),
        AccessReason::NoToken => "; there is no valid token".to_owned(),
        AccessReason::NotListed => "; the token does not list it".to_owned(),
        AccessReason::OtherUser => "; {user} in its pattern is not the token's user".to_owned(),
        AccessReason::UnfitUser => {
            "; the token's user has a space, : or / in its name, and {user} never \
             matches such a name, because it would match other segments"
                .to_owned()
        }
    };
    let answer = if decision.reason.allows() { "yes" } else { "no" };
    format!("{answer}: {says}{because}")
}

fn audience(access: Access) -> &'static str {
    match access {
        Access::Anyone => "anyone",
        Access::User => "clients with a valid token",
        Access::Token => "clients with a token that lists the channel",
        Access::Nobody => "nobody",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Pattern, Rules};
    use crate::settings::{RawValue, Settings};

    #[test]
    fn the_explanation_names_the_rule_that_applies_and_the_reason() {
        let list = r#"[{ pattern = "chat:*", history = { size = 5, age = "1m" } },
                       { pattern = "user:{user}", subscribe = "user", publish = "nobody" }]"#;
        let given = [("rules".to_owned(), (RawValue::Text(list.to_owned()), "test".to_owned()))];
        let rules = Rules::read(&mut Settings::new(given.into(), Vec::new()), true).current();
        let identity = Identity {
            user: Some("u1".into()),
            subscribe: Box::new([Pattern::parse("chat:*").unwrap()]),
            ..Identity::default()
        };
        let (anonymous, u1) = (TokenStatus::Nothing, TokenStatus::Token(Ok(identity)));
        let says = |channel, shown, parts: &[&str]| {
            let text = explain(&rules, "a.toml", channel, shown);
            for part in parts {
                assert!(text.contains(part), "{part:?} is not in:\n{text}");
            }
        };
        says(
            "chat:1",
            &u1,
            &[
                "rule       rules[0] \"chat:*\", from a.toml\n",
                "token      valid, of the user \"u1\"\n",
                "subscribe  yes: rules[0] allows clients with a token that lists the channel; the \
                 token lists \"chat:*\"\n",
                "publish    no: rules[0] allows clients with a token that lists the channel; the token \
                 does not list it\n",
                "history    5 publications, 60 seconds\n",
            ],
        );
        says(
            "user:u2",
            &u1,
            &["subscribe  no: ", "{user} in its pattern is not", "allows nobody\n"],
        );
        let unfit = |listed: &str| {
            let subscribe = Box::new([Pattern::parse(listed).unwrap()]);
            TokenStatus::Token(Ok(Identity {
                user: Some("auth0/u1".into()),
                subscribe,
                ..Identity::default()
            }))
        };
        let why = ["subscribe  no: ", "has a space, : or / in its name, and {user} never"];
        let (by_rule, by_token) = (unfit("chat:*"), unfit("chat:{user}"));
        says("user:auth0/u1", &by_rule, &["rule       none matches\n"]);
        says("user:auth0", &by_rule, &why);
        says("chat:1", &by_token, &why);
        says("chat:1", &anonymous, &["none given", "there is no valid token"]);
        says(
            "other",
            &u1,
            &["rule       none matches\n", "no rule matches, and then no client has"],
        );
        says(
            "chat:1",
            &TokenStatus::Token(Err(TokenRefused("x"))),
            &["refused: x; the connection"],
        );
    }
}
