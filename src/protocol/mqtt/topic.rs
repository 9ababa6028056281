//! Topics and topic filters (section 4.7). A topic is a channel of the same name.

use std::sync::Arc;

use super::reason::Reason;
use crate::publication::Channel;
use crate::rules::{ByteClass, SubscriptionPart, SubscriptionPattern};

/// What a filter selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicFilter {
    Channel(Channel),
    Pattern(Arc<SubscriptionPattern>),
}

/// Why a topic filter cannot be subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterFault {
    pub reason: Reason,
    pub what: &'static str,
}

/// What a filter of a shared subscription begins with (section 4.8.2).
const SHARED: &str = "$share/";

impl TopicFilter {
    pub fn parse(filter: &str) -> Result<Self, FilterFault> {
        let fault = |reason, what| FilterFault { reason, what };
        if filter.starts_with(SHARED) {
            return Err(fault(Reason::SharedNotSupported, "the node has no shared subscriptions"));
        }
        if !filter.contains(['+', '#']) {
            let what = "a channel name is 1 to 255 bytes of UTF-8 without white space or control \
                        characters";
            let invalid = |_| fault(Reason::FilterInvalid, what);
            return Channel::new(filter).map(Self::Channel).map_err(invalid);
        }
        let alternatives = alternatives(filter).ok_or(fault(
            Reason::FilterInvalid,
            "+ stands for a whole level, and # for the last ones",
        ))?;
        let pattern = SubscriptionPattern::of_parts(filter, alternatives);
        let pattern = pattern.map_err(|_| {
            fault(Reason::FilterInvalid, "the filter is too long or has too many wildcards")
        })?;
        Ok(Self::Pattern(Arc::new(pattern)))
    }
}

/// What matches the filter: one list of parts for each way. None: a wildcard is not alone in its level
/// (MQTT-4.7.1-1 and MQTT-4.7.1-2).
fn alternatives(filter: &str) -> Option<Vec<Vec<SubscriptionPart<'_>>>> {
    use SubscriptionPart::{Literal, One, Run};
    let mut ways: Vec<Vec<SubscriptionPart<'_>>> = vec![Vec::new()];
    let mut levels = filter.split('/').enumerate().peekable();
    while let Some((number, level)) = levels.next() {
        let is_first = number == 0;
        match level {
            // MQTT-4.7.2-1: a wildcard in front matches no topic that begins with `$`.
            "#" if levels.peek().is_none() && is_first => {
                ways = vec![vec![One(ByteClass::AnyWithoutDollar), Run(ByteClass::Any)]];
            }
            "#" if levels.peek().is_none() => {
                // Section 4.7.1.2: also the level above.
                let above = ways.clone().into_iter().filter(|way| !way.is_empty());
                let below =
                    ways.iter().map(|way| [way, &[Literal("/"), Run(ByteClass::Any)][..]].concat());
                ways = above.chain(below).collect();
            }
            "+" if is_first => {
                let some = vec![One(ByteClass::LevelWithoutDollar), Run(ByteClass::Level)];
                ways = vec![Vec::new(), some];
            }
            "+" => {
                ways.iter_mut().for_each(|way| way.extend([Literal("/"), Run(ByteClass::Level)]));
            }
            _ if level.contains(['+', '#']) => return None,
            _ if is_first => ways.iter_mut().for_each(|way| way.push(Literal(level))),
            _ => ways.iter_mut().for_each(|way| way.extend([Literal("/"), Literal(level)])),
        }
    }
    ways.retain(|way| !way.is_empty());
    Some(ways)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        match TopicFilter::parse(filter) {
            Ok(TopicFilter::Pattern(pattern)) => pattern.matches(topic),
            Ok(TopicFilter::Channel(channel)) => channel.as_str() == topic,
            Err(fault) => panic!("{filter}: {fault:?}"),
        }
    }

    /// The examples of section 4.7.
    #[test]
    fn a_filter_matches_the_topics_that_the_specification_names() {
        for (filter, topic) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("#", "sport/tennis"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("+", "finance"),
            ("+/tennis/#", "sport/tennis/player1"),
            ("+/tennis/#", "/tennis"),
            ("$SYS/#", "$SYS/monitor"),
            ("$SYS/monitor/+", "$SYS/monitor/Clients"),
            ("+/#", "a"),
            ("+/#", "/a"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/monitor"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
            ("sport/#", "sports"),
            ("+/#", "$SYS/a"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
        for invalid in ["sport+", "sport/tennis#", "sport/tennis/#/ranking", "+a/b", "a/+b"] {
            assert!(TopicFilter::parse(invalid).is_err(), "{invalid}");
        }
    }
}
