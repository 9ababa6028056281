//! Whether a text is JSON that every strict parser accepts. The content of `data` is passed on unchanged, and
//! a value that a parser refuses makes the whole message unreadable, such as a `history` reply.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::depth::exceeds;

/// Most levels of nesting: serde_json reads 127, of which a `history` reply takes three.
pub const DEPTH_MAX: usize = 124;

/// Digits of an integer that may be too large for a double.
const DIGITS_MANY: usize = 309;

/// Whether the text is JSON with numbers that fit a double, escapes that are valid characters, and at most
/// [`DEPTH_MAX`] levels.
pub fn is_readable(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok() && is_readable_json(text)
}

/// The same for a text that is known to be JSON. Most such texts need no second parse.
pub fn is_readable_json(json: &str) -> bool {
    let is_plain = !has_escapes_or_exponents(json.as_bytes()) && !has_many_digits(json.as_bytes());
    let is_sound = is_plain || serde_json::from_str::<Readable>(json).is_ok();
    is_sound && !exceeds(json.as_bytes(), DEPTH_MAX)
}

/// Whether the text contains `\u` or a possible exponent. Checks every byte, so that the processor can check
/// many at once.
fn has_escapes_or_exponents(json: &[u8]) -> bool {
    let pairs = json.iter().zip(json.get(1..).unwrap_or_default());
    pairs.fold(false, |found, (first, second)| {
        let is_escape = (*first == b'\\') & (*second == b'u');
        let is_exponent = first.is_ascii_digit() & (*second | 0x20 == b'e');
        found | is_escape | is_exponent
    })
}

/// Whether the text contains at least `DIGITS_MANY` consecutive digits. Every such sequence includes one of
/// the sampled positions.
fn has_many_digits(json: &[u8]) -> bool {
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    (0..json.len()).step_by(DIGITS_MANY).any(|at| {
        let before = json[..at].iter().rev().take(DIGITS_MANY).take_while(is_digit).count();
        let after = json[at..].iter().take(DIGITS_MANY).take_while(is_digit).count();
        before + after >= DIGITS_MANY
    })
}

/// Any value, fully parsed and dropped. `serde::de::IgnoredAny` accepts half a surrogate pair as a character,
/// and `1e999` as a number.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn json_that_a_strict_parser_refuses_is_not_readable() {
        for text in [
            r#""\ud83d""#,
            r#""\udc00""#,
            r#""\ud83d\u0041""#,
            r#"{"\ud83d":1}"#,
            r#"[{"a":["\uD800"]}]"#,
            "1e999",
            "[-1E+400]",
            &format!("1{}", "0".repeat(400)),
            &format!("[{}1{}]", " ".repeat(500), "0".repeat(309)),
            &nested(DEPTH_MAX + 1),
            "",
            "{",
            "1 2",
            "nul",
            "\"\u{1}\"",
        ] {
            assert!(!is_readable(text), "{text}");
        }
    }

    #[test]
    fn readable_json_stays_readable_within_a_history_reply() {
        for text in [
            r#""\ud83d\ude00 \u0041 \\ud83d""#,
            r#"{"b":1.0, "a":[true,false,null,-0,1e-999,123456789012345678901234567890]}"#,
            " 7 ",
            "1e308",
            &format!("1{}", "0".repeat(308)),
            &format!("0.{}", "9".repeat(1000)),
            &nested(DEPTH_MAX),
        ] {
            assert!(is_readable(text), "{text}");
            let answer = format!(r#"{{"publications":[{{"data":{text}}}]}}"#);
            assert!(serde_json::from_str::<Value>(&answer).is_ok(), "{text}");
        }
    }

    proptest::proptest! {
        /// Exactly the texts that serde_json parses, apart from the depth.
        #[test]
        fn readable_json_is_exactly_what_serde_json_parses(text in r#"[\[\]{}:,"\\udD89aA0-9eE.+\- ]{0,24}"#) {
            assert_eq!(is_readable(&text), serde_json::from_str::<Value>(&text).is_ok());
        }
    }
}
