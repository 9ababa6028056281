//! The pattern of a rule, which matches channel names.

mod coverage;
mod step;
mod subscription;
#[cfg(test)]
mod tests;

pub use self::step::{ByteClass, MatchStep};
use self::step::{advance, begin, can_match};
pub use self::subscription::{InvalidSubscriptionPattern, SubscriptionPart, SubscriptionPattern};

/// A pattern, compiled: `chat:*`.
///
/// `:` and `/` end a segment. `*` matches any bytes within one segment, also none; `**` any bytes across
/// segments; `{user}` at least one byte within one segment, or one given user name ([`Pattern::matches_for`]).
/// The rest is literal. No wildcard matches a space, because channels with one are the nodes' own.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    /// The number of literal bytes at the start: most channels that do not match differ there.
    prefix: usize,
    /// The steps that match the rest.
    steps: Box<[MatchStep]>,
}

/// The text is not a pattern; the message shows what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is {}", Pattern::ALLOWED)]
pub struct InvalidPattern;

impl Pattern {
    /// The longest pattern, in bytes: as long as a channel's name.
    pub const BYTES_MAX: usize = 255;

    pub const ALLOWED: &str = "1 to 255 bytes without white space, control characters or braces \
        other than {user}";

    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let fits = !text.is_empty() && text.len() <= Self::BYTES_MAX;
        let is_plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let has_other_braces = text.split(USER).any(|literal| literal.contains(['{', '}']));
        if !fits || !is_plain || has_other_braces {
            return Err(InvalidPattern);
        }
        let prefix = text.find(['*', '{']).unwrap_or(text.len());
        let steps = steps(&text[prefix..], None);
        Ok(Self { text: text.into(), prefix, steps: steps.into() })
    }

    /// Whether the channel matches. Takes at most the pattern's length times the name's, because it follows all
    /// ways to match simultaneously.
    pub fn matches(&self, channel: &str) -> bool {
        self.behind_prefix(channel).is_some_and(|rest| {
            // `reached[i]`: the first `i` steps can match exactly the bytes read so far.
            let mut reached = [false; Self::BYTES_MAX + 1];
            can_match(&self.steps, &mut reached, rest)
        })
    }

    /// The same, with `{user}` only for this user, within a segment. Never matches without a user, or if the user's
    /// name contains a segment separator.
    pub fn matches_for(&self, channel: &str, user: Option<&str>) -> bool {
        if !self.names_user() {
            return self.matches(channel);
        }
        let fits = |user: &&str| user.len() <= channel.len() && is_segment(user);
        let Some(user) = user.filter(fits) else { return false };
        self.behind_prefix(channel).is_some_and(|rest| {
            let steps = steps(&self.text[self.prefix..], Some(user));
            can_match(&steps, &mut vec![false; steps.len() + 1], rest)
        })
    }

    /// Whether it contains `{user}`.
    pub fn names_user(&self) -> bool {
        self.text.contains(USER)
    }

    fn behind_prefix<'a>(&self, channel: &'a str) -> Option<&'a [u8]> {
        channel.as_bytes().strip_prefix(&self.text.as_bytes()[..self.prefix])
    }

    /// A channel that the pattern matches, and other patterns hardly match.
    pub fn sample(&self) -> String {
        self.as_str().replace("{user}", "any~").replace('*', "any~")
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same as a Lua pattern, anchored at both ends, for the function in Redis.
    ///
    /// Lua backtracks: its time is the name's length to the power of [`Pattern::lua_depth`].
    pub fn lua(&self) -> String {
        let mut lua = String::from("^");
        for part in parts(&self.text) {
            match part {
                PatternPart::Literal(literal) => {
                    lua.extend(literal.chars().flat_map(|character| {
                        LUA_MAGIC.contains(character).then_some('%').into_iter().chain([character])
                    }));
                }
                PatternPart::User => lua.push_str(LUA_USER),
                PatternPart::Within => lua.push_str(LUA_WITHIN),
                PatternPart::Across => lua.push_str(LUA_ACROSS),
            }
        }
        lua.push('$');
        lua
    }

    /// The inverse of [`Pattern::lua`]. None: the text is not its result.
    pub fn from_lua(lua: &str) -> Option<Self> {
        let mut rest = lua.strip_prefix('^')?.strip_suffix('$')?;
        let mut text = String::new();
        while let Some(first) = rest.chars().next() {
            let wildcard = LUA_WILDCARDS.iter().find(|(written, _)| rest.starts_with(written));
            let length = match (wildcard, first) {
                (Some((written, part)), _) => {
                    text.push_str(part);
                    written.len()
                }
                (None, '%') => {
                    let literal = rest[1..].chars().next()?;
                    text.push(literal);
                    1 + literal.len_utf8()
                }
                (None, literal) => {
                    text.push(literal);
                    literal.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        Self::parse(&text).ok().filter(|pattern| pattern.lua() == lua)
    }

    /// How many wildcards Lua must try against each other. A wildcard before a segment separator has only one way to
    /// match: it multiplies the time of those before it, but not of those after it.
    pub fn lua_depth(&self) -> u32 {
        step::depth(&self.steps)
    }

    /// The same in Redis' notation, where the only wildcard is `*` and matches any characters: it may match more.
    /// `escaped`: literal text in that notation.
    pub fn glob(&self, escaped: impl Fn(&str) -> String) -> String {
        let mut glob = String::new();
        for part in parts(&self.text) {
            match part {
                PatternPart::Literal(literal) => glob.push_str(&escaped(literal)),
                _ if glob.ends_with('*') => {}
                _ => glob.push('*'),
            }
        }
        glob
    }

    /// The steps of the whole pattern.
    fn all_steps(&self) -> Vec<MatchStep> {
        steps(&self.text, None)
    }
}

/// Whether `{user}` can match this user. A name with a separator would match channels of other users.
pub fn is_segment(user: &str) -> bool {
    !user.contains([':', '/', ' '])
}

/// The steps of the text. `user`: the only user that `{user}` matches; None: any user.
fn steps(text: &str, user: Option<&str>) -> Vec<MatchStep> {
    let mut steps = Vec::new();
    for part in parts(text) {
        match (part, user) {
            (PatternPart::Literal(literal), _) => {
                steps.extend(literal.bytes().map(MatchStep::Byte));
            }
            (PatternPart::User, Some(user)) => steps.extend(user.bytes().map(MatchStep::Byte)),
            (PatternPart::User, None) => {
                steps.extend([MatchStep::One(ByteClass::Segment), MatchStep::WITHIN]);
            }
            (PatternPart::Within, _) => steps.push(MatchStep::WITHIN),
            (PatternPart::Across, _) => steps.push(MatchStep::ACROSS),
        }
    }
    steps
}

const USER: &str = "{user}";

const LUA_USER: &str = "[^:/ ]+";
const LUA_WITHIN: &str = "[^:/ ]*";
const LUA_ACROSS: &str = "[^ ]*";

/// Lua's wildcards, and ours.
const LUA_WILDCARDS: [(&str, &str); 3] = [(LUA_USER, USER), (LUA_WITHIN, "*"), (LUA_ACROSS, "**")];

const LUA_MAGIC: &str = "^$()%.[]*+-?";

/// A part of a pattern's text.
enum PatternPart<'a> {
    Literal(&'a str),
    User,
    Within,
    Across,
}

/// Splits a pattern. Several stars become one part: more of them match no more, and each would cost time.
fn parts(text: &str) -> impl Iterator<Item = PatternPart<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (part, length) = match rest.bytes().take_while(|byte| *byte == b'*').count() {
            0 if rest.is_empty() => return None,
            0 if rest.starts_with(USER) => (PatternPart::User, USER.len()),
            0 => {
                let length = rest.find(['*', '{']).unwrap_or(rest.len());
                (PatternPart::Literal(&rest[..length]), length)
            }
            1 => (PatternPart::Within, 1),
            more => (PatternPart::Across, more),
        };
        rest = &rest[length..];
        Some(part)
    })
}
