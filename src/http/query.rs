//! The query of a request: `name=value` pairs separated by `&`.
//!
//! It is parsed as a URI's query (RFC 3986), not as a form: `+` is a plus sign, which a user's name may
//! contain. A form parser would make it a space, and would replace bytes that are not UTF-8, where the API
//! refuses them.

use std::borrow::Cow;
use std::str::Utf8Error;

use percent_encoding::percent_decode_str;

#[derive(Clone, Copy, Debug)]
pub struct Query<'a>(&'a str);

/// The value of a pair, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a>(&'a str);

/// The query contains the name more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl<'a> Query<'a> {
    /// `text`: the part after the `?`, if there is one.
    pub fn new(text: Option<&'a str>) -> Self {
        Self(text.unwrap_or_default())
    }

    /// Its length as it was sent, in bytes.
    pub fn bytes(self) -> usize {
        self.0.len()
    }

    /// Each non-empty part; without a value if it contains no `=`.
    pub fn pairs(self) -> impl Iterator<Item = (&'a str, Option<Parameter<'a>>)> {
        let parts = self.0.split('&').filter(|part| !part.is_empty());
        parts.map(|part| match part.split_once('=') {
            Some((name, value)) => (name, Some(Parameter(value))),
            None => (part, None),
        })
    }

    /// The first value of the name.
    pub fn first(self, name: &str) -> Option<Parameter<'a>> {
        self.values(name).next()
    }

    /// The value of a name that may occur once.
    pub fn only(self, name: &str) -> Result<Option<Parameter<'a>>, Repeated> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Repeated),
        }
    }

    fn values(self, name: &str) -> impl Iterator<Item = Parameter<'a>> {
        self.pairs().filter(move |(it, _)| *it == name).filter_map(|(_, value)| value)
    }
}

impl<'a> Parameter<'a> {
    /// The value with its percent-encoding.
    pub fn as_sent(self) -> &'a str {
        self.0
    }

    /// Percent-decoded. A `%` without two hexadecimal digits is kept.
    pub fn decoded(self) -> Result<Cow<'a, str>, Utf8Error> {
        percent_decode_str(self.0).decode_utf8()
    }

    /// Percent-decoded; bytes that are not UTF-8 become U+FFFD.
    pub fn decoded_lossy(self) -> Cow<'a, str> {
        percent_decode_str(self.0).decode_utf8_lossy()
    }

    /// A number in decimal digits. None also for a number with a sign, which `parse` alone would accept.
    pub fn whole_number(self) -> Option<usize> {
        let is_digits = self.0.bytes().all(|byte| byte.is_ascii_digit());
        is_digits.then_some(self.0)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query<'_> {
        Query::new(Some(text))
    }

    #[test]
    fn query_pairs_are_split_at_the_first_equals_sign() {
        let pairs: Vec<_> = query("&a=1=2&&b&=c&a=")
            .pairs()
            .map(|(name, value)| (name, value.map(Parameter::as_sent)))
            .collect();
        assert_eq!(pairs, [("a", Some("1=2")), ("b", None), ("", Some("c")), ("a", Some(""))]);
        assert_eq!(Query::new(None).pairs().count(), 0);
    }

    #[test]
    fn a_query_name_matches_as_a_whole_and_repeated_names_are_reported() {
        let query = query("ab=1&a=2&b&c=3&c=4");
        assert_eq!(query.first("a"), Some(Parameter("2")));
        assert_eq!(query.only("a"), Ok(Some(Parameter("2"))));
        assert_eq!(query.only("b"), Ok(None), "it has no value");
        assert_eq!(query.first("c"), Some(Parameter("3")));
        assert_eq!(query.only("c"), Err(Repeated));
    }

    #[test]
    fn a_query_value_is_percent_decoded_and_a_plus_sign_is_kept() {
        for (sent, decoded) in
            [("a+b%2B", "a+b+"), ("%C3%A9%26", "é&"), ("100%", "100%"), ("%zz", "%zz")]
        {
            assert_eq!(Parameter(sent).decoded().as_deref(), Ok(decoded));
        }
        assert!(Parameter("%FF").decoded().is_err());
        assert_eq!(Parameter("a%FF").decoded_lossy(), "a\u{fffd}");
    }

    #[test]
    fn whole_numbers_consist_of_digits_only() {
        assert_eq!(Parameter("007").whole_number(), Some(7));
        for other in ["", "+5", "-1", "1.5", "1%30", "99999999999999999999"] {
            assert_eq!(Parameter(other).whole_number(), None, "{other}");
        }
    }
}
