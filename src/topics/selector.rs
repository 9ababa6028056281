//! Selectors of topics.

use super::matcher::Matcher;
use super::{encoded, uri_template, url_pattern};

/// The longest selector, in bytes.
pub const SELECTOR_BYTES_MAX: usize = 1024;

/// The text is not a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    #[error("a topic selector is 1 to {SELECTOR_BYTES_MAX} bytes without control characters")]
    Text,
    #[error(
        "not a URL pattern that this node knows: literals, :name, *, and groups in braces with ? or *; regular \
         expressions and other modifiers are not offered"
    )]
    UrlPattern,
}

/// What names topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicSelector {
    /// `*`: every topic.
    All,
    /// One topic, as its channel.
    Exact(Box<str>),
    /// Those that match a pattern, and the pattern's own text.
    Pattern(Box<str>, Matcher),
}

impl TopicSelector {
    /// A URI template, or a topic.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let text = checked(text)?;
        let template = text.contains('{').then(|| uri_template::matcher(&text)).flatten();
        Ok(match template {
            _ if &*text == "*" => Self::All,
            Some(matcher) => Self::Pattern(text, matcher),
            None => Self::Exact(text),
        })
    }

    /// A topic, whatever it contains.
    pub fn exact(text: &str) -> Result<Self, InvalidSelector> {
        let text = checked(text)?;
        Ok(if &*text == "*" { Self::All } else { Self::Exact(text) })
    }

    pub fn url_pattern(text: &str) -> Result<Self, InvalidSelector> {
        let text = checked(text)?;
        if &*text == "*" {
            return Ok(Self::All);
        }
        let matcher = url_pattern::matcher(&text).ok_or(InvalidSelector::UrlPattern)?;
        Ok(Self::Pattern(text, matcher))
    }

    /// `topic`: as its channel, or the text of a selector.
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(text) => **text == *topic,
            Self::Pattern(text, matcher) => **text == *topic || matcher.matches(topic),
        }
    }
}

fn checked(text: &str) -> Result<Box<str>, InvalidSelector> {
    let fits = (1..=SELECTOR_BYTES_MAX).contains(&text.len());
    match fits && !text.chars().any(char::is_control) {
        true => Ok(encoded(text).into()),
        false => Err(InvalidSelector::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_everything_a_template_or_one_topic() {
        let matches =
            |selector: &str, topic: &str| TopicSelector::parse(selector).unwrap().matches(topic);
        for (selector, topic, expected) in [
            ("*", "anything", true),
            ("https://a.test/{id}", "https://a.test/1", true),
            ("https://a.test/{id}", "https://a.test/{id}", true),
            ("https://a.test/{id}", "https://a.test/1/2", false),
            ("https://a.test/{", "https://a.test/{", true),
            ("chat:1", "chat:1", true),
            ("chat:1", "chat:2", false),
            ("a b", "a%20b", true),
            ("a {b}", "a%20c", true),
        ] {
            assert_eq!(matches(selector, topic), expected, "{selector} {topic}");
        }
        assert!(!TopicSelector::exact("{id}").unwrap().matches("1"));
        assert!(TopicSelector::exact("*").unwrap().matches("1"));
        assert!(TopicSelector::url_pattern("/:id").unwrap().matches("/1"));
        assert_eq!(TopicSelector::url_pattern("/(a)"), Err(InvalidSelector::UrlPattern));
        for bad in ["", "a\nb", &"x".repeat(1025)] {
            assert_eq!(TopicSelector::parse(bad), Err(InvalidSelector::Text));
        }
    }
}
