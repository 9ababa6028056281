//! Whether a session may subscribe or publish, by the rules and its token.

use super::Identity;
use crate::rules::{Access, Pattern, Policy, Rule, RuleTable, SubscriptionPattern, is_segment};
use crate::topics::TopicAction;

/// An operation on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Includes reading presence and history.
    Subscribe,
    Publish,
}

/// Why it is denied. Reveals nothing of the channel, so that clients cannot find out which exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The client has no token; with one, it might be allowed.
    #[error("a token is needed for this, and the client has sent none")]
    Unauthorized,
    #[error("not allowed on this channel; `tidegate explain` shows the reason")]
    Forbidden,
    /// No rule allows patterns for all channels of the pattern.
    #[error("no rule with patterns = true matches all channels of this pattern")]
    NoPatterns,
}

/// A decision with its reason, for `tidegate explain`.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The rule that matched, and its index.
    pub rule: Option<(usize, &'a Rule)>,
    pub access: Access,
    pub reason: AccessReason<'a>,
}

/// Why it is allowed or denied.
#[derive(Clone, Copy, Debug)]
pub enum AccessReason<'a> {
    Anyone,
    /// There is a valid token, and any is sufficient.
    HasToken,
    /// The token lists the channel with this pattern.
    Lists(&'a Pattern),
    /// The token lists the channel in `channels`.
    Channels,
    /// The token lists the channel as a topic.
    Topic,
    /// An application has signed for the channel.
    Signed,
    /// This and the following deny it. The rule allows `nobody`.
    Nobody,
    NoToken,
    NotListed,
    /// `{user}` in the rule is another user, or the token has no user.
    OtherUser,
    /// The token's user has a character in its name that `{user}` never matches.
    UnfitUser,
}

impl AccessReason<'_> {
    pub fn allows(self) -> bool {
        matches!(
            self,
            Self::Anyone
                | Self::HasToken
                | Self::Lists(_)
                | Self::Channels
                | Self::Topic
                | Self::Signed
        )
    }
}

impl Right {
    fn access(self, policy: Policy) -> Access {
        match self {
            Self::Subscribe => policy.subscribe,
            Self::Publish => policy.publish,
        }
    }

    fn topic_action(self) -> TopicAction {
        match self {
            Self::Subscribe => TopicAction::Subscribe,
            Self::Publish => TopicAction::Publish,
        }
    }

    fn listed(self, identity: &Identity) -> &[Pattern] {
        match self {
            Self::Subscribe => &identity.subscribe,
            Self::Publish => &identity.publish,
        }
    }
}

/// Whether a client with this identity, or none, may do it.
pub fn check(
    table: &RuleTable,
    identity: Option<&Identity>,
    right: Right,
    channel: &str,
) -> Result<(), Denied> {
    match decide(table, identity, right, channel).reason {
        ground if ground.allows() => Ok(()),
        // An anonymous client gets the same error whether the channel exists or not. Only where it may subscribe
        // does it learn that no token would help.
        AccessReason::Nobody if identity.is_none() => match right {
            Right::Publish if check(table, None, Right::Subscribe, channel).is_ok() => {
                Err(Denied::Forbidden)
            }
            _ => Err(Denied::Unauthorized),
        },
        _ if identity.is_none() => Err(Denied::Unauthorized),
        _ => Err(Denied::Forbidden),
    }
}

/// Whether a client that may subscribe may read private publications of the channel: they ask for what a rule that says
/// `token` asks for.
pub fn reads_private(table: &RuleTable, identity: Option<&Identity>, channel: &str) -> bool {
    let rule = table.find(channel);
    match Right::Subscribe.access(table.policy(rule.map(|(_, rule)| rule))) {
        Access::Nobody => false,
        Access::Anyone | Access::User | Access::Token => {
            reason(rule, Access::Token, identity, Right::Subscribe, channel).allows()
        }
    }
}

/// The same with its reason.
pub fn decide<'a>(
    table: &'a RuleTable,
    identity: Option<&'a Identity>,
    right: Right,
    channel: &str,
) -> Decision<'a> {
    decide_by(table, table.find(channel), identity, right, channel)
}

/// The same where the rule of the channel is known already.
pub fn decide_by<'a>(
    table: &'a RuleTable,
    rule: Option<(usize, &'a Rule)>,
    identity: Option<&'a Identity>,
    right: Right,
    channel: &str,
) -> Decision<'a> {
    let access = right.access(table.policy(rule.map(|(_, rule)| rule)));
    Decision { rule, access, reason: reason(rule, access, identity, right, channel) }
}

fn reason<'a>(
    rule: Option<(usize, &'a Rule)>,
    access: Access,
    identity: Option<&'a Identity>,
    right: Right,
    channel: &str,
) -> AccessReason<'a> {
    let user = identity.and_then(|identity| identity.user.as_deref());
    let is_theirs = |pattern: &Pattern| pattern.matches_for(channel, user);
    match (access, identity) {
        (Access::Nobody, _) => AccessReason::Nobody,
        (_, None) if rule.is_some_and(|(_, rule)| rule.pattern.names_user()) => {
            AccessReason::NoToken
        }
        (_, Some(_)) if rule.is_some_and(|(_, rule)| !is_theirs(&rule.pattern)) => {
            if user.is_some_and(|user| !is_segment(user)) {
                AccessReason::UnfitUser
            } else {
                AccessReason::OtherUser
            }
        }
        (Access::Anyone, _) => AccessReason::Anyone,
        (_, None) => AccessReason::NoToken,
        (Access::User, Some(_)) => AccessReason::HasToken,
        (Access::Token, Some(identity)) => {
            let listed = right.listed(identity).iter().find(|pattern| is_theirs(pattern));
            let at_connect = right == Right::Subscribe
                && identity.channels.iter().any(|listed| listed.as_str() == channel);
            let is_topic = identity
                .topics
                .as_ref()
                .is_some_and(|topics| topics.lists(right.topic_action(), channel));
            let is_signed = identity.signed.as_ref().is_some_and(|it| it.as_str() == channel);
            match listed {
                Some(pattern) => AccessReason::Lists(pattern),
                None if is_signed => AccessReason::Signed,
                None if at_connect => AccessReason::Channels,
                None if is_topic => AccessReason::Topic,
                None if is_missed(right.listed(identity), user) => AccessReason::UnfitUser,
                None => AccessReason::NotListed,
            }
        }
    }
}

/// Whether a client with this identity, or none, may subscribe to the pattern. It may not see all of the pattern's
/// channels: access is checked for each channel too.
pub fn check_pattern(
    table: &RuleTable,
    identity: Option<&Identity>,
    pattern: &SubscriptionPattern,
) -> Result<PatternShown, Denied> {
    let denied = match identity {
        None => Denied::Unauthorized,
        Some(_) => Denied::Forbidden,
    };
    let Some(found) = table.find_pattern(pattern) else {
        return Err(Denied::NoPatterns);
    };
    let Some((i, rule)) = found else { return Ok(PatternShown::All) };
    let user = identity.and_then(|identity| identity.user.as_deref());
    let overlaps = |listed: &Pattern| {
        (!listed.names_user() || user.is_some_and(is_segment)) && pattern.may_overlap(listed, user)
    };
    let (shown, is_whole) = match (rule.policy.subscribe, identity) {
        (Access::Anyone, _) => (true, true),
        (Access::User, identity) => (identity.is_some(), true),
        (Access::Token, Some(identity)) => {
            // Which channels a selector of topics matches is decided for each channel.
            let has_topics = identity.topics.as_ref().is_some_and(|it| it.lists_subscriptions());
            let is_listed = has_topics
                || identity.subscribe.iter().any(overlaps)
                || identity.channels.iter().any(|channel| pattern.matches(channel.as_str()));
            let is_inside = |it: &Pattern| pattern.is_inside_for(it, user);
            (is_listed, identity.subscribe.iter().any(is_inside))
        }
        (Access::Token, None) | (Access::Nobody, _) => (false, false),
    };
    if !shown || !overlaps(&rule.pattern) {
        return Err(denied);
    }
    let is_first =
        || !table.iter().take(i).any(|earlier| pattern.may_overlap(&earlier.pattern, None));
    Ok(match is_whole && pattern.is_inside_for(&rule.pattern, user) && is_first() {
        true => PatternShown::All,
        false => PatternShown::Some,
    })
}

/// Which of a pattern's channels a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternShown {
    All,
    /// Only those to which it may subscribe.
    Some,
}

/// Whether one of the patterns was probably meant for this user, whose name `{user}` never matches.
fn is_missed(listed: &[Pattern], user: Option<&str>) -> bool {
    user.is_some_and(|user| !is_segment(user)) && listed.iter().any(Pattern::names_user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::Channel;
    use crate::rules::Rules;
    use crate::settings::{RawValue, Settings};

    const RULES: &str = r#"[
        { pattern = "user:{user}", subscribe = "user", publish = "nobody" },
        { pattern = "news:*", subscribe = "anyone", publish = "token" },
        { pattern = "chat:**", subscribe = "token", publish = "token" },
        { pattern = "lobby", subscribe = "user", publish = "user" },
        { pattern = "desk:{user}", subscribe = "anyone", publish = "anyone" },
        { pattern = "feed", subscribe = "anyone", publish = "nobody" }]"#;

    fn table() -> std::sync::Arc<RuleTable> {
        let given = [("rules".to_owned(), (RawValue::Text(RULES.to_owned()), "test".to_owned()))];
        Rules::read(&mut Settings::new(given.into(), Vec::new()), true).current()
    }

    fn identity(user: Option<&str>, subscribe: &[&str], publish: &[&str]) -> Identity {
        let patterns = |list: &[&str]| list.iter().map(|it| Pattern::parse(it).unwrap()).collect();
        Identity {
            user: user.map(Into::into),
            subscribe: patterns(subscribe),
            publish: patterns(publish),
            channels: Box::new([Channel::new("chat:welcome").unwrap()]),
            ..Identity::default()
        }
    }

    #[test]
    fn each_access_level_allows_only_the_clients_it_names() {
        use Right::{Publish, Subscribe};
        let table = table();
        let (u1, bare) =
            (identity(Some("u1"), &["chat:{user}:*"], &["news:a"]), identity(None, &[], &[]));
        let check = |identity, right, channel| check(&table, identity, right, channel);
        for (who, right, channel, expected) in [
            (None, Subscribe, "news:a", Ok(())),
            (None, Subscribe, "lobby", Err(Denied::Unauthorized)),
            (None, Subscribe, "chat:1", Err(Denied::Unauthorized)),
            (None, Subscribe, "no such rule", Err(Denied::Unauthorized)),
            (None, Publish, "user:u1", Err(Denied::Unauthorized)),
            (None, Publish, "news:a", Err(Denied::Unauthorized)),
            (None, Publish, "feed", Err(Denied::Forbidden)),
            (None, Subscribe, "desk:u1", Err(Denied::Unauthorized)),
            (Some(&u1), Subscribe, "desk:u1", Ok(())),
            (Some(&u1), Subscribe, "desk:u2", Err(Denied::Forbidden)),
            (Some(&u1), Subscribe, "user:u1", Ok(())),
            (Some(&u1), Publish, "user:u1", Err(Denied::Forbidden)),
            (Some(&u1), Subscribe, "user:u2", Err(Denied::Forbidden)),
            (Some(&bare), Subscribe, "user:u1", Err(Denied::Forbidden)),
            (Some(&bare), Subscribe, "lobby", Ok(())),
            (Some(&u1), Subscribe, "chat:u1:a", Ok(())),
            (Some(&u1), Subscribe, "chat:u2:a", Err(Denied::Forbidden)),
            (Some(&u1), Subscribe, "chat:welcome", Ok(())),
            (Some(&u1), Publish, "chat:welcome", Err(Denied::Forbidden)),
            (Some(&u1), Publish, "news:a", Ok(())),
            (Some(&u1), Publish, "news:b", Err(Denied::Forbidden)),
            (Some(&u1), Subscribe, "elsewhere", Err(Denied::Forbidden)),
        ] {
            assert_eq!(check(who, right, channel), expected, "{right:?} {channel}");
        }
    }
}
