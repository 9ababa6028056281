//! By which of its subscriptions a connection delivers a publication that it gets several times: by one to the channel and
//! by one to each pattern that matches.
//!
//! Redis sends confirmations and messages in one order, so what is active is exact at each message.

use std::collections::{BTreeMap, HashSet};

use crate::publication::Channel;

/// The active subscriptions of one connection, as far as they matter to patterns.
#[derive(Default)]
pub struct PatternRoutes {
    /// The channels that are subscribed by name. None: no pattern was requested yet.
    channels: Option<HashSet<Channel>>,
    /// The active patterns in Redis' own notation. Only `*` is a wildcard of it.
    globs: BTreeMap<Box<[u8]>, Glob>,
}

/// A pattern in Redis' notation, split at its stars.
struct Glob {
    literals: Vec<Vec<u8>>,
}

impl PatternRoutes {
    /// Must be called before a pattern is requested. `confirmed`: the channels that are subscribed now.
    pub fn begin(&mut self, confirmed: impl FnOnce() -> Vec<Channel>) {
        self.channels.get_or_insert_with(|| confirmed().into_iter().collect());
    }

    /// Redis has confirmed a channel.
    pub fn subscribed(&mut self, channel: &Channel) {
        if let Some(channels) = &mut self.channels
            && !Channel::is_internal(channel.as_str())
        {
            channels.insert(channel.clone());
        }
    }

    pub fn unsubscribed(&mut self, channel: &Channel) {
        if let Some(channels) = &mut self.channels {
            channels.remove(channel);
        }
    }

    /// Redis has confirmed a pattern.
    pub fn glob_subscribed(&mut self, glob: &[u8]) {
        self.globs.insert(glob.into(), Glob::new(glob));
    }

    pub fn glob_unsubscribed(&mut self, glob: &[u8]) {
        self.globs.remove(glob);
    }

    /// Whether a message by this pattern is the one to deliver. `name`: the channel's name in Redis.
    pub fn delivers(&self, glob: &[u8], name: &[u8], channel: &str) -> bool {
        let mut first = self.globs.iter().filter(|(_, it)| it.matches(name));
        !self.is_by_name(channel) && first.next().is_some_and(|(first, _)| **first == *glob)
    }

    /// Whether the channel's publications are delivered by its own subscription.
    pub fn is_by_name(&self, channel: &str) -> bool {
        self.channels.as_ref().is_some_and(|all| all.contains(channel))
    }
}

impl Glob {
    fn new(glob: &[u8]) -> Self {
        let (mut literals, mut literal) = (Vec::new(), Vec::new());
        let mut bytes = glob.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'*' => literals.push(std::mem::take(&mut literal)),
                b'\\' => literal.extend(bytes.next()),
                other => literal.push(*other),
            }
        }
        literals.push(literal);
        Self { literals }
    }

    /// Whether the name has the literals in their order, each as early as possible.
    fn matches(&self, name: &[u8]) -> bool {
        let [first, between @ .., last] = &self.literals[..] else {
            return self.literals.first().is_some_and(|only| only == name);
        };
        let Some(mut rest) = name.strip_prefix(&first[..]) else { return false };
        for literal in between.iter().filter(|literal| !literal.is_empty()) {
            let found = rest.windows(literal.len()).position(|window| window == literal);
            let Some(found) = found else { return false };
            rest = &rest[found + literal.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_as_redis_does() {
        for (glob, name, expected) in [
            (&b"t:a*"[..], &b"t:a"[..], true),
            (b"t:a*", b"t:abc", true),
            (b"t:a*", b"t:b", false),
            (b"t:*:x", b"t:a:b:x", true),
            (b"t:*:x", b"t:x", false),
            (b"t:*b*c", b"t:abbc", true),
            (b"t:*b*c", b"t:acb", false),
            (br"t\*:[", b"t*:[", true),
            (br"t\*", b"tx", false),
            (b"t", b"t", true),
        ] {
            assert_eq!(Glob::new(glob).matches(name), expected, "{glob:?} {name:?}");
        }
    }

    #[test]
    fn a_publication_is_delivered_by_one_of_the_subscriptions_that_get_it() {
        let (mut routes, channel) = (PatternRoutes::default(), Channel::new("a:b").unwrap());
        routes.begin(Vec::new);
        routes.glob_subscribed(b"t:a*");
        routes.glob_subscribed(b"t:a:*");
        let by = |routes: &PatternRoutes| {
            [&b"t:a*"[..], b"t:a:*"].map(|glob| routes.delivers(glob, b"t:a:b", "a:b"))
        };
        assert_eq!(by(&routes), [true, false]);
        routes.subscribed(&channel);
        assert_eq!(by(&routes), [false, false], "by the channel itself");
        routes.unsubscribed(&channel);
        routes.glob_unsubscribed(b"t:a*");
        assert_eq!(by(&routes), [false, true]);
    }
}
