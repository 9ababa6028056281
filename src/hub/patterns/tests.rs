use std::sync::Arc;

use super::*;
use crate::auth::Identity;
use crate::outbound::Outbound;
use crate::protocol::Format;
use crate::publication::NodeId;
use bytes::Bytes;

fn session(number: u64) -> (Arc<PatternSession>, Subscriber) {
    let id = SessionId { node: NodeId::random(), number };
    let outbound = Arc::new(Outbound::new(id, 1 << 20));
    let subscriber = Subscriber {
        outbound,
        format: Format::Json,
        echo: true,
        closes_on_gap: false,
        reads_private: false,
    };
    (Arc::new(PatternSession::new(id, None, [])), subscriber)
}

fn add(patterns: &Patterns, text: &str, it: &(Arc<PatternSession>, Subscriber)) -> u64 {
    let pattern = Arc::new(SubscriptionPattern::parse(text).unwrap());
    patterns.admit().unwrap();
    let subscriber = PatternSubscriber { subscriber: it.1.clone(), session: it.0.clone() };
    patterns.add(&pattern, subscriber, || {})
}

/// The numbers of the subscriptions that get a publication of the channel.
fn shown(patterns: &Patterns, rules: &Rules, channel: &str, direct: &DirectDelivery) -> Vec<u64> {
    let (mut numbers, bare) = (Vec::new(), Publication::bare(Bytes::new()));
    if let Some(matches) = patterns.matching(channel) {
        matches.for_each(rules, channel, Some(&bare), direct, |number, _| {
            numbers.push(number);
            true
        });
    }
    numbers
}

#[test]
fn a_session_with_several_matching_patterns_gets_a_publication_once() {
    let rules = Rules::default();
    let patterns = Patterns::new(rules.clone());
    let (one, two) = (session(1), session(2));
    add(&patterns, "a:*", &one);
    add(&patterns, "a:**", &one);
    let other = add(&patterns, "*:b", &two);
    let numbers = shown(&patterns, &rules, "a:b", &DirectDelivery::default());
    assert_eq!(numbers.len(), 2, "one each session");
    assert!(numbers.contains(&other));
    assert!(shown(&patterns, &rules, "b:c", &DirectDelivery::default()).is_empty());
}

#[test]
fn a_subscription_to_the_channel_itself_takes_precedence_from_its_start_to_its_end() {
    let rules = Rules::default();
    let patterns = Patterns::new(rules.clone());
    let own = session(1);
    let number = add(&patterns, "a:*", &own);
    patterns.add_session(own.0.clone());
    let channel = Channel::new("a:b").unwrap();
    let mut subscribers = Subscribers::default();
    subscribers.add(7, own.1.clone());
    let position = |seq| Some(Position { epoch: 1, seq });
    patterns.subscribed(own.0.id(), &channel, 7, position(5));
    let direct = |subscribers: &Subscribers, ended| DirectDelivery {
        subscribers: Some(subscribers.snapshot()),
        ended,
    };
    let gets = |seq, delivery: &DirectDelivery| own.0.gets_directly("a:b", position(seq), delivery);
    assert!(!gets(5, &direct(&subscribers, vec![])), "it was before the subscription");
    assert!(gets(6, &direct(&subscribers, vec![])));
    assert!(!gets(6, &direct(&subscribers, vec![7])), "the subscription had ended");
    assert!(!gets(6, &DirectDelivery::default()));
    assert!(patterns.unsubscribed(own.0.id(), &channel, 7), "the pattern shows the channel");
    assert!(gets(6, &direct(&subscribers, vec![])), "it was delivered before the end");
    subscribers.remove(7);
    assert!(!gets(6, &direct(&subscribers, vec![])));
    patterns.remove(number);
    assert!(!patterns.unsubscribed(own.0.id(), &channel, 7));
}

#[test]
fn a_pattern_shows_only_channels_to_which_the_session_may_subscribe() {
    let rules = Rules::of_text(
        r#"[{ pattern = "a:secret", subscribe = "nobody", publish = "nobody", patterns = true },
            { pattern = "a:hidden", subscribe = "anyone", publish = "anyone" },
            { pattern = "a:listed:*", subscribe = "token", publish = "token", patterns = true },
            { pattern = "a:**", subscribe = "anyone", publish = "anyone", patterns = true }]"#,
    );
    let patterns = Patterns::new(rules.clone());
    let own = session(1);
    add(&patterns, "a:**", &own);
    let shows =
        |channel: &str| !shown(&patterns, &rules, channel, &DirectDelivery::default()).is_empty();
    assert_eq!(
        ["a:1", "a:secret", "a:hidden", "a:listed:1"].map(shows),
        [true, false, false, false]
    );
    let subscribe = Box::new([Pattern::parse("a:listed:1").unwrap()]);
    own.0.set_identity(Some(Arc::new(Identity { subscribe, ..Identity::default() })));
    assert_eq!(["a:1", "a:listed:1", "a:listed:2"].map(shows), [true, true, false]);
}

#[test]
fn the_sources_of_patterns_are_wanted_until_the_last_subscription_ends() {
    let patterns = Patterns::new(Rules::default());
    let source = |text| Pattern::parse(text).unwrap();
    let (a, b) = (vec![source("a:**")], vec![source("a:**"), source("b:*")]);
    let wanted = |wanted: Vec<Pattern>| wanted.len();
    assert_eq!(patterns.add_sources(&a, wanted), 1);
    assert_eq!(patterns.add_sources(&b, wanted), 2);
    let mut told = None;
    patterns.remove_sources(&a, |wanted| told = Some(wanted.len()));
    assert_eq!(told, None, "the other subscription has the same source");
    patterns.remove_sources(&b, |wanted| told = Some(wanted.len()));
    assert_eq!(told, Some(0));
}
