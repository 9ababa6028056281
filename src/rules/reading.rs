//! Reading one rule from the settings.

use std::time::Duration;

use super::access::Access;
use super::event_kinds::EventKinds;
use super::pattern::Pattern;
use super::policy::{Delivery, History, Policy, Rule};
use super::run::{read as read_run, read_streams};
use crate::publication::Channel;
use crate::settings::{Section, Settings};

/// The most wildcards of a pattern that Redis must try against each other. With two, the worst name takes Redis
/// 0.3 ms; with three 30 ms, while it serves no other client.
pub const LUA_DEPTH_MAX: u32 = 2;

impl Rule {
    /// None: it has faults.
    pub(super) fn read(section: &mut Section<'_>, tokens: bool) -> Option<Self> {
        let pattern = section.text(
            "pattern",
            None,
            Pattern::ALLOWED,
            |text| Pattern::parse(text).ok(),
            |pattern| pattern.as_str().to_owned(),
            "Required. `*` matches any characters within a segment; `:` and `/` separate segments. `**` \
             matches any characters across segments; `{user}` the name of a user, within a segment.",
        );
        if !section.is_given("pattern") {
            section.fault("pattern", format!("must be given: {}", Pattern::ALLOWED));
        }
        if pattern.as_ref().is_some_and(|pattern| pattern.lua_depth() > LUA_DEPTH_MAX) {
            section.fault(
                "pattern",
                "has too many wildcards that could end in several places, which Redis would have to try \
                 against each other; use fewer, or put : or / after them",
            );
        }
        let subscribe = Access::read(
            section,
            "subscribe",
            tokens,
            "Who may subscribe, and read presence and history: `anyone`; `user`, with any valid token; \
             `token`, with a token that lists the channel; `nobody`. If the pattern has `{user}`, only \
             that user. If not set, `anyone`, or `token` where `auth.mode = \"token\"`.",
        );
        let publish = Access::read(
            section,
            "publish",
            tokens,
            "Who may publish, with the same values. Must be set if `subscribe` is, and only then.",
        );
        for (key, other) in [("subscribe", "publish"), ("publish", "subscribe")] {
            // A truncated file that lost one of them must not open the other to everyone.
            if section.is_given(other) && !section.is_given(key) {
                section.fault(key, format!("must be given if {other} is: {}", Access::WORDS));
            }
        }
        let history = History::read(section);
        let presence = section.flag(
            "presence",
            Some(false),
            "Whether the node keeps the channel's members, answers requests for them, and sends `join` and \
             `leave` to subscribers.",
        );
        let delivery = section.choice(
            "delivery",
            "every",
            &[("every", Delivery::Every), ("latest", Delivery::Latest)],
            "`every`: a consumer too slow to receive every publication is closed with 4008. `latest`: a slow \
             consumer gets only the newest.",
        );
        let presence = presence.unwrap_or_default();
        let keeps_history = section.is_given("history.size") || section.is_given("history.age");
        let (run, control) = read_run(section, keeps_history, delivery == Delivery::Latest);
        let streams = read_streams(section, run.is_some(), control.is_some());
        let events = EventKinds::read(section);
        let patterns = section.flag(
            "patterns",
            Some(false),
            "Whether clients may subscribe to patterns whose channels all match this rule's, such as `orders:eu:*` \
             below `orders:**`. A client gets only the publications of channels to which it may subscribe.",
        );
        let patterns = patterns.unwrap_or_default();
        let policy = Policy {
            subscribe,
            publish,
            history,
            presence,
            events,
            delivery,
            run,
            streams,
            patterns,
        };
        let sets_access = section.is_given("subscribe");
        Some(Self { pattern: pattern?, policy, sets_access, control })
    }
}

impl History {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        section.refuse("history", "must be a table, such as { size = 200, age = \"10m\" }");
        let size = section.number_if_given(
            "history.size",
            1..=100_000,
            "How many of the newest publications are kept, at times up to 100 more. Without `history`, \
             none are kept.",
        );
        let day = Duration::from_secs(24 * 60 * 60);
        let age = section.duration_if_given(
            "history.age",
            Duration::from_secs(1)..=30 * day,
            "The longest time a publication is kept. `size` and `age` must be set together.",
        );
        for (key, other) in [("history.size", "history.age"), ("history.age", "history.size")] {
            if section.is_given(other) && !section.is_given(key) {
                section.fault(key, format!("must be given if {other} is"));
            }
        }
        let size = u32::try_from(size?).expect("its bounds fit");
        Some(Self { size, age: age? })
    }
}

/// Faults rules whose control channels are themselves runs, as far as their patterns tell.
pub fn fault_control_chains(settings: &mut Settings, rules: &[Option<Rule>]) {
    for (i, rule) in rules.iter().enumerate() {
        let Some(Rule { pattern, control: Some(control), .. }) = rule else { continue };
        let sample = Channel::new(&pattern.sample()).ok();
        let Some(channel) = sample.and_then(|run| control.of(&run)) else { continue };
        let mut matching = rules.iter().enumerate();
        let matching = matching.find_map(|(at, it)| {
            let rule = it.as_ref()?;
            rule.pattern.matches(channel.as_str()).then_some((at, rule))
        });
        if let Some((at, Rule { policy: Policy { run: Some(_), .. }, .. })) = matching {
            let what = format!("{channel} would itself be a run, by rules[{at}]");
            settings.fault(&format!("rules[{i}].run.control"), what);
        }
    }
}
