//! What a publisher says of a publication besides its payload, where its protocol has words for it.

/// The longest name of an event, and the longest id, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// What a publisher says of a publication besides its payload. Only some protocols show it to subscribers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateFields {
    /// Only clients whose token lists the channel get it.
    pub is_private: bool,
    /// The type of the event.
    pub event: Option<Box<str>>,
    /// The id of the event where the channel keeps no history.
    pub event_id: Option<Box<str>>,
    /// The reconnect delay of clients, in milliseconds.
    pub retry_ms: Option<u64>,
    /// The names of all channels on which it was published, the most important one first. Empty: only on this one.
    pub topics: Box<[Box<str>]>,
}

/// The text is not the name or the id of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("1 to {TEXT_BYTES_MAX} bytes of UTF-8 without control characters")]
pub struct InvalidEventText;

impl UpdateFields {
    /// The most channels on which one update is published.
    pub const TOPICS_MAX: usize = 32;

    /// A name or an id of an event.
    pub fn text(text: &str) -> Result<Box<str>, InvalidEventText> {
        let fits = (1..=TEXT_BYTES_MAX).contains(&text.len());
        match fits && !text.chars().any(char::is_control) {
            true => Ok(text.into()),
            false => Err(InvalidEventText),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_event_is_bounded_and_one_line() {
        for good in ["a", "é b", "urn:uuid:1", &"x".repeat(255)] {
            assert_eq!(UpdateFields::text(good).as_deref(), Ok(good));
        }
        for bad in ["", "a\nb", "a\rb", "\0", "\u{85}", &"x".repeat(256)] {
            assert_eq!(UpdateFields::text(bad), Err(InvalidEventText));
        }
    }
}
