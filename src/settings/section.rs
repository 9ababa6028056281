//! Reads the keys of one section, one method for each type of value.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::SettingsFault;
use super::{DEFAULT, KeySpec, ListenAddress, RawValue, Settings, unit};

/// Added to the fault of a list that a flag or a variable has.
const NOTATION: &str = r#"; a flag or a variable has its items with commas between them (a,b), or as TOML (["a", "b"])"#;

/// One section of the configuration, while its module reads it.
pub struct Section<'a> {
    settings: &'a mut Settings,
    name: String,
    /// The origin of a list's table; `default` for other sections, whose keys may have several origins.
    origin: String,
}

impl Settings {
    /// The keys of `[name]`; of the top level if `name` is empty.
    pub fn section(&mut self, name: &'static str) -> Section<'_> {
        Section::new(self, name.to_owned(), DEFAULT.to_owned())
    }
}

impl<'a> Section<'a> {
    pub(super) fn new(settings: &'a mut Settings, name: String, origin: String) -> Self {
        Self { settings, name, origin }
    }

    /// A duration with its unit, such as `"25s"`.
    pub fn duration(
        &mut self,
        key: &str,
        default: &str,
        allowed: RangeInclusive<Duration>,
        doc: &'static str,
    ) -> Duration {
        self.duration_or(key, Some(default), allowed, doc)
            .expect("the default of a duration is within its bounds")
    }

    /// A duration with its unit; None if not set.
    pub fn duration_if_given(
        &mut self,
        key: &str,
        allowed: RangeInclusive<Duration>,
        doc: &'static str,
    ) -> Option<Duration> {
        self.duration_or(key, None, allowed, doc)
    }

    fn duration_or(
        &mut self,
        key: &str,
        default: Option<&str>,
        allowed: RangeInclusive<Duration>,
        doc: &'static str,
    ) -> Option<Duration> {
        let words = format!(
            "a duration with its unit (ms, s, m, h, d), {} to {}",
            unit::write_duration(*allowed.start()),
            unit::write_duration(*allowed.end())
        );
        let parse = |given: &RawValue| match given {
            RawValue::Text(text) => unit::read_duration(text).filter(|d| allowed.contains(d)),
            _ => None,
        };
        let write = |duration: &Duration| quoted(&unit::write_duration(*duration));
        let default = default.map(|text| RawValue::Text(text.to_owned()));
        self.read_key(key, default, words, doc, parse, write)
    }

    /// A size with its unit, such as `"64KiB"`.
    pub fn bytes(
        &mut self,
        key: &str,
        default: &str,
        allowed: RangeInclusive<usize>,
        doc: &'static str,
    ) -> usize {
        let words = format!(
            "a size with its unit (B, KiB, MiB, GiB), {} to {}",
            unit::write_bytes(*allowed.start()),
            unit::write_bytes(*allowed.end())
        );
        let parse = |given: &RawValue| match given {
            RawValue::Text(text) => unit::read_bytes(text).filter(|bytes| allowed.contains(bytes)),
            _ => None,
        };
        let write = |bytes: &usize| quoted(&unit::write_bytes(*bytes));
        self.read_key(key, Some(RawValue::Text(default.to_owned())), words, doc, parse, write)
            .expect("the default of a size is within its bounds")
    }

    /// A whole number.
    pub fn number(
        &mut self,
        key: &str,
        default: usize,
        allowed: RangeInclusive<usize>,
        doc: &'static str,
    ) -> usize {
        self.number_or(key, Some(default), allowed, doc)
            .expect("the default of a number is within its bounds")
    }

    /// A whole number; None if not set.
    pub fn number_if_given(
        &mut self,
        key: &str,
        allowed: RangeInclusive<usize>,
        doc: &'static str,
    ) -> Option<usize> {
        self.number_or(key, None, allowed, doc)
    }

    fn number_or(
        &mut self,
        key: &str,
        default: Option<usize>,
        allowed: RangeInclusive<usize>,
        doc: &'static str,
    ) -> Option<usize> {
        let words = format!("a whole number, {} to {}", allowed.start(), allowed.end());
        let parse = |given: &RawValue| {
            let number = match given {
                RawValue::Number(number) => usize::try_from(*number).ok(),
                RawValue::Text(text) => text.parse().ok(),
                _ => None,
            };
            number.filter(|number| allowed.contains(number))
        };
        let default =
            default.map(|it| RawValue::Number(i64::try_from(it).expect("a default fits")));
        self.read_key(key, default, words, doc, parse, usize::to_string)
    }

    /// A share, from 0.0 to 1.0.
    pub fn part(&mut self, key: &str, default: f64, doc: &'static str) -> f64 {
        let parse = |given: &RawValue| {
            let part = match given {
                RawValue::Fraction(part) => Some(*part),
                RawValue::Number(0) => Some(0.),
                RawValue::Number(1) => Some(1.),
                RawValue::Text(text) => text.parse().ok(),
                _ => None,
            };
            part.filter(|part| (0. ..=1.).contains(part))
        };
        let write = |part: &f64| format!("{part:?}");
        let words = "a number, 0.0 to 1.0".to_owned();
        self.read_key(key, Some(RawValue::Fraction(default)), words, doc, parse, write)
            .expect("the default is a part of all")
    }

    /// True or false; None if not set and without a default.
    pub fn flag(&mut self, key: &str, default: Option<bool>, doc: &'static str) -> Option<bool> {
        let parse = |given: &RawValue| match given {
            RawValue::Flag(flag) => Some(*flag),
            RawValue::Text(text) => text.parse().ok(),
            _ => None,
        };
        self.read_key(
            key,
            default.map(RawValue::Flag),
            "true or false".into(),
            doc,
            parse,
            bool::to_string,
        )
    }

    /// True or false, the default, or a list of some of the names, as [`RawValue::texts`] reads it.
    pub fn flag_or_names(
        &mut self,
        key: &str,
        names: &[&str],
        doc: &'static str,
    ) -> Result<bool, Vec<String>> {
        let are_known = |list: &[String]| {
            !list.is_empty() && list.iter().all(|name| names.contains(&name.as_str()))
        };
        let parse = |given: &RawValue| match given {
            RawValue::Flag(flag) => Some(Ok(*flag)),
            RawValue::Text(text) => match text.parse() {
                Ok(flag) => Some(Ok(flag)),
                Err(_) => given.texts().filter(|list| are_known(list)).map(Err),
            },
            _ => given.texts().filter(|list| are_known(list)).map(Err),
        };
        let write = |it: &Result<bool, Vec<String>>| match it {
            Ok(flag) => flag.to_string(),
            Err(list) => format!("{list:?}"),
        };
        let words = format!("true, false, or a list of some of {}", names.join(", "));
        self.read_key(key, Some(RawValue::Flag(false)), words, doc, parse, write)
            .unwrap_or(Ok(false))
    }

    /// One of several names.
    pub fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &str,
        default: &str,
        choices: &[(&str, T)],
        doc: &'static str,
    ) -> T {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let parse = |given: &RawValue| match given {
            RawValue::Text(text) => {
                choices.iter().find(|(word, _)| word == text).map(|(_, it)| *it)
            }
            _ => None,
        };
        let write = |it: &T| {
            quoted(choices.iter().find(|(_, other)| other == it).map_or("", |(word, _)| word))
        };
        let words = format!("one of {}", words.join(", "));
        self.read_key(key, Some(RawValue::Text(default.to_owned())), words, doc, parse, write)
            .expect("the default is one of the choices")
    }

    /// An address and port to listen on.
    pub fn address(&mut self, key: &str, default: &str, doc: &'static str) -> ListenAddress {
        let default = RawValue::Text(default.to_owned());
        self.address_or(key, Some(default), doc).expect("the default address parses")
    }

    /// The same for a key without default.
    pub fn address_if_given(&mut self, key: &str, doc: &'static str) -> Option<ListenAddress> {
        self.address_or(key, None, doc)
    }

    fn address_or(
        &mut self,
        key: &str,
        default: Option<RawValue>,
        doc: &'static str,
    ) -> Option<ListenAddress> {
        let words = ListenAddress::ALLOWED.to_owned();
        let parse = |given: &RawValue| match given {
            RawValue::Text(text) => text.parse().ok(),
            _ => None,
        };
        let write = |address: &ListenAddress| quoted(&address.to_string());
        self.read_key(key, default, words, doc, parse, write)
    }

    /// A list of texts, as [`RawValue::texts`] reads it.
    pub fn list(
        &mut self,
        key: &str,
        allowed: &str,
        check: impl Fn(&str) -> bool,
        doc: &'static str,
    ) -> Vec<String> {
        let parse = |given: &RawValue| {
            let items = given.texts()?.into_iter().filter(|item| !item.is_empty());
            let items: Vec<String> = items.collect();
            items.iter().all(|item| check(item)).then_some(items)
        };
        let write = |items: &Vec<String>| format!("{items:?}");
        let (faults, default) = (self.settings.faults.len(), Some(RawValue::List(Vec::new())));
        let is_text =
            matches!(self.settings.raw.get(&self.full(key)), Some((RawValue::Text(_), _)));
        let list = self.read_key(key, default, allowed.to_owned(), doc, parse, write);
        for fault in self.settings.faults[faults..].iter_mut().filter(|_| is_text) {
            fault.what.push_str(NOTATION);
        }
        list.expect("an empty list is allowed")
    }

    /// A text that `parse` accepts.
    pub fn text<T>(
        &mut self,
        key: &str,
        default: Option<&str>,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
        show: impl Fn(&T) -> String,
        doc: &'static str,
    ) -> Option<T> {
        let parse = |given: &RawValue| match given {
            RawValue::Text(text) => parse(text),
            _ => None,
        };
        let default = default.map(|text| RawValue::Text(text.to_owned()));
        self.read_key(key, default, allowed.to_owned(), doc, parse, |it| quoted(&show(it)))
    }

    /// The same for a text that may contain a secret, which `show` masks.
    pub fn parsed<T>(
        &mut self,
        key: &str,
        default: Option<&str>,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
        show: impl Fn(&T) -> String,
        doc: &'static str,
    ) -> Option<T> {
        self.text(key, default, allowed, parse, show, doc)
    }

    /// The same with a `parse` that fails with a description, which must not quote the value.
    pub fn explained<T>(
        &mut self,
        key: &str,
        default: Option<&str>,
        allowed: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
        doc: &'static str,
    ) -> Option<T> {
        let faults = self.settings.faults.len();
        let why = RefCell::new(None);
        let parse = |text: &str| parse(text).map_err(|what| *why.borrow_mut() = Some(what)).ok();
        let it = self.parsed(key, default, allowed, parse, show, doc);
        for fault in &mut self.settings.faults[faults..] {
            fault.what = why.take().unwrap_or_else(|| std::mem::take(&mut fault.what));
        }
        it
    }

    /// Whether a layer set the key.
    pub fn is_given(&self, key: &str) -> bool {
        self.settings.is_set(&self.full(key))
    }

    /// A fault that the key's own value does not show.
    pub fn fault(&mut self, key: &str, what: impl Into<String>) {
        let key = self.full(key);
        self.settings.fault_from(key, &self.origin, what.into());
    }

    /// Makes the presence of a key a fault, with a reason.
    pub fn refuse(&mut self, key: &str, why: &str) {
        if self.is_given(key) {
            self.fault(key, why);
            self.settings.raw.remove(&self.full(key));
        }
    }

    fn full(&self, key: &str) -> String {
        match self.name.as_str() {
            "" => key.to_owned(),
            section => format!("{section}.{key}"),
        }
    }

    /// Reads a key. None: it is not set or at fault, and has no default.
    fn read_key<T>(
        &mut self,
        key: &str,
        default: Option<RawValue>,
        allowed: String,
        doc: &'static str,
        parse: impl Fn(&RawValue) -> Option<T>,
        write: impl Fn(&T) -> String,
    ) -> Option<T> {
        let key = self.full(key);
        let fallback = default.as_ref().and_then(&parse);
        let default = fallback.as_ref().map(&write).unwrap_or_default();
        let (value, origin) = match self.settings.raw.get(&key) {
            None => (fallback, DEFAULT.to_owned()),
            Some((raw, origin)) => match parse(raw) {
                Some(value) => (Some(value), origin.clone()),
                None => {
                    self.settings.faults.push(SettingsFault {
                        key: key.clone(),
                        origin: origin.clone(),
                        what: format!("is {}; must be {allowed}", raw.kind()),
                    });
                    (fallback, DEFAULT.to_owned())
                }
            },
        };
        let effective = value.as_ref().map(&write).unwrap_or_default();
        self.settings.specs.push(KeySpec { key, doc, allowed, default, effective, origin });
        value
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
