//! Topics: the names of what updates are about, mostly IRIs, as channels; the selectors that name them; and what a token
//! says about them.

mod config;
mod matcher;
mod rights;
mod selector;
mod uri_template;
mod url_pattern;

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

pub use self::config::Config;
pub use self::rights::{DETAIL_TYPE, InvalidRights, SELECTORS_MAX, TopicAction, TopicRights};
pub use self::selector::{InvalidSelector, SELECTOR_BYTES_MAX, TopicSelector};
use crate::publication::{Channel, InvalidChannel};

/// The path of the hub, and of the topics that it reserves for itself.
pub const HUB_PATH: &str = "/.well-known/mercure";

/// Why a text is not the topic of an update or of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    #[error("a topic has no control characters")]
    Control,
    #[error("a topic is 1 to 255 bytes, where each white space counts as its percent-encoding")]
    Length,
}

/// The channel of a topic: the topic itself, with white space percent-encoded, which channels do not have.
pub fn channel_of(topic: &str) -> Result<Channel, InvalidTopic> {
    if topic.chars().any(char::is_control) {
        return Err(InvalidTopic::Control);
    }
    Channel::new(&encoded(topic)).map_err(|InvalidChannel| InvalidTopic::Length)
}

/// The text with its white space percent-encoded.
fn encoded(text: &str) -> Cow<'_, str> {
    const SPACE: &AsciiSet = &CONTROLS.add(b' ');
    if !text.contains(char::is_whitespace) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut bytes = [0; 4];
    for character in text.chars() {
        match character.is_whitespace() {
            true => out.extend(utf8_percent_encode(character.encode_utf8(&mut bytes), SPACE)),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Whether the topic, resolved against the hub's URL, has the hub's path or one below it: only the hub itself publishes
/// there.
pub fn is_reserved(topic: &str) -> bool {
    let path = resolved_path(topic);
    path.strip_prefix(HUB_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path of a topic resolved against the hub's URL (RFC 3986 section 5.2), with unreserved characters decoded and
/// without dot segments.
fn resolved_path(topic: &str) -> String {
    let text = topic.split(['?', '#']).next().unwrap_or_default();
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.'))
    };
    let (has_scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (true, rest),
        _ => (false, text),
    };
    // Browsers' parsers read a backslash in such a path as a slash.
    let rest = rest.replace('\\', "/");
    let path = match rest.strip_prefix("//") {
        Some(behind) => behind.find('/').map_or("", |at| &behind[at..]).to_owned(),
        None if has_scheme || rest.starts_with('/') => rest,
        // Empty: the hub's URL itself.
        None if rest.is_empty() => HUB_PATH.to_owned(),
        None => format!("/.well-known/{rest}"),
    };
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/').skip(1) {
        match &*decoded_unreserved(segment) {
            "." => {}
            ".." => _ = segments.pop(),
            other => segments.push(other.to_owned()),
        }
    }
    segments.into_iter().fold(String::new(), |path, segment| path + "/" + &segment)
}

/// Decodes the percent-encoded unreserved characters (RFC 3986 section 2.3).
fn decoded_unreserved(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let byte = rest.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let is_unreserved =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        match byte.filter(is_unreserved) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[3..];
            }
            None => {
                out.push('%');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_its_channel_with_white_space_percent_encoded() {
        let channel = |topic: &str| channel_of(topic).map(|channel| channel.to_string());
        for (topic, expected) in [
            ("https://example.com/books/1?a=%20#b", "https://example.com/books/1?a=%20#b"),
            ("chat:1", "chat:1"),
            ("a b", "a%20b"),
            ("a\u{a0}é\u{3000}", "a%C2%A0é%E3%80%80"),
        ] {
            assert_eq!(channel(topic).as_deref(), Ok(expected));
        }
        assert_eq!(channel("a\nb"), Err(InvalidTopic::Control));
        assert_eq!(channel(""), Err(InvalidTopic::Length));
        assert_eq!(channel(&" ".repeat(86)), Err(InvalidTopic::Length));
        assert!(channel(&" ".repeat(85)).is_ok());
    }

    #[test]
    fn a_topic_below_the_hubs_path_is_reserved_however_it_is_written() {
        for reserved in [
            "/.well-known/mercure",
            "/.well-known/mercure/subscriptions/a/b",
            "https://hub.test/.well-known/mercure/subscriptions",
            "any:/.well-known/mercure",
            "//hub.test/.well-known/mercure?x",
            "/.well-known/%6Dercure/x",
            "/.well-known/mercure/../mercure/x",
            "/a/%2e%2E/.well-known/./mercure",
            "https:\\\\hub.test\\.well-known\\mercure",
            "mercure",
            "mercure/subscriptions",
            "?x",
            "",
        ] {
            assert!(is_reserved(reserved), "{reserved}");
        }
        for free in [
            "/.well-known/mercurex",
            "/.well-known/mercure/..",
            "https://a.test/x?/.well-known/mercure",
            "chat:1",
            "books/1",
            "/%",
            "/é/%zz",
        ] {
            assert!(!is_reserved(free), "{free}");
        }
    }
}
