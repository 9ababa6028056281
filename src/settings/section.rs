//! Asking for the keys of one section, kind by kind.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::Fault;
use super::{Given, Known, Settings, unit};

/// One section of the configuration, while its room reads it.
pub struct Section<'a> {
    settings: &'a mut Settings,
    name: &'static str,
}

impl<'a> Section<'a> {
    pub(super) fn new(settings: &'a mut Settings, name: &'static str) -> Self {
        Self { settings, name }
    }

    /// A duration with its unit, such as `"25s"`.
    pub fn duration(
        &mut self,
        key: &str,
        default: &str,
        allowed: RangeInclusive<Duration>,
        doc: &'static str,
    ) -> Duration {
        let words = format!(
            "a duration with its unit (ms, s, m, h, d), {} to {}",
            unit::write_duration(*allowed.start()),
            unit::write_duration(*allowed.end())
        );
        let parse = |given: &Given| match given {
            Given::Text(text) => unit::read_duration(text).filter(|d| allowed.contains(d)),
            _ => None,
        };
        let write = |duration: &Duration| quoted(&unit::write_duration(*duration));
        self.ask(key, Some(Given::Text(default.to_owned())), words, doc, parse, write)
            .expect("the default of a duration is within its bounds")
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
        let parse = |given: &Given| match given {
            Given::Text(text) => unit::read_bytes(text).filter(|bytes| allowed.contains(bytes)),
            _ => None,
        };
        let write = |bytes: &usize| quoted(&unit::write_bytes(*bytes));
        self.ask(key, Some(Given::Text(default.to_owned())), words, doc, parse, write)
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
        let words = format!("a whole number, {} to {}", allowed.start(), allowed.end());
        let parse = |given: &Given| {
            let number = match given {
                Given::Number(number) => usize::try_from(*number).ok(),
                Given::Text(text) => text.parse().ok(),
                _ => None,
            };
            number.filter(|number| allowed.contains(number))
        };
        let default = Given::Number(i64::try_from(default).expect("a default fits"));
        self.ask(key, Some(default), words, doc, parse, usize::to_string)
            .expect("the default of a number is within its bounds")
    }

    /// True or false; None where it was left open and something else decides.
    pub fn flag(&mut self, key: &str, default: Option<bool>, doc: &'static str) -> Option<bool> {
        let parse = |given: &Given| match given {
            Given::Flag(flag) => Some(*flag),
            Given::Text(text) => text.parse().ok(),
            _ => None,
        };
        self.ask(key, default.map(Given::Flag), "true or false".into(), doc, parse, bool::to_string)
    }

    /// One of a few words.
    pub fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &str,
        default: &str,
        choices: &[(&str, T)],
        doc: &'static str,
    ) -> T {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let parse = |given: &Given| match given {
            Given::Text(text) => choices.iter().find(|(word, _)| word == text).map(|(_, it)| *it),
            _ => None,
        };
        let write = |it: &T| {
            quoted(choices.iter().find(|(_, other)| other == it).map_or("", |(word, _)| word))
        };
        let words = format!("one of {}", words.join(", "));
        self.ask(key, Some(Given::Text(default.to_owned())), words, doc, parse, write)
            .expect("the default is one of the choices")
    }

    /// An address and port to listen on.
    pub fn address(&mut self, key: &str, default: &str, doc: &'static str) -> SocketAddr {
        let words = "an IP address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned();
        let parse = |given: &Given| match given {
            Given::Text(text) => text.parse().ok(),
            _ => None,
        };
        let write = |address: &SocketAddr| quoted(&address.to_string());
        self.ask(key, Some(Given::Text(default.to_owned())), words, doc, parse, write)
            .expect("the default address parses")
    }

    /// A list of texts; in the environment and in flags, separated by commas.
    pub fn list(
        &mut self,
        key: &str,
        allowed: &str,
        check: impl Fn(&str) -> bool,
        doc: &'static str,
    ) -> Vec<String> {
        let parse = |given: &Given| {
            let items: Vec<String> = match given {
                Given::List(items) => items.clone(),
                Given::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
                _ => return None,
            };
            let items: Vec<String> = items.into_iter().filter(|item| !item.is_empty()).collect();
            items.iter().all(|item| check(item)).then_some(items)
        };
        let write = |items: &Vec<String>| format!("{items:?}");
        self.ask(key, Some(Given::List(Vec::new())), allowed.to_owned(), doc, parse, write)
            .expect("an empty list is allowed")
    }

    /// A text that `parse` understands. It may hold a secret: `show` masks it, faults leave it out.
    pub fn parsed<T>(
        &mut self,
        key: &str,
        default: Option<&str>,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
        show: impl Fn(&T) -> String,
        doc: &'static str,
    ) -> Option<T> {
        let parse = |given: &Given| match given {
            Given::Text(text) => parse(text),
            _ => None,
        };
        let default = default.map(|text| Given::Text(text.to_owned()));
        let faults = self.settings.faults.len();
        let it = self.ask(key, default, allowed.to_owned(), doc, parse, |it| quoted(&show(it)));
        self.settings.faults[faults..].iter_mut().for_each(|fault| fault.value = None);
        it
    }

    /// Asks for a key. None: it is not set and has no default, or it was a fault and has none.
    fn ask<T>(
        &mut self,
        key: &str,
        default: Option<Given>,
        allowed: String,
        doc: &'static str,
        parse: impl Fn(&Given) -> Option<T>,
        write: impl Fn(&T) -> String,
    ) -> Option<T> {
        let key = match self.name {
            "" => key.to_owned(),
            section => format!("{section}.{key}"),
        };
        let fallback = default.as_ref().and_then(&parse);
        let default = fallback.as_ref().map(&write).unwrap_or_default();
        let (value, origin) = match self.settings.given.get(&key) {
            None => (fallback, "default".to_owned()),
            Some((given, origin)) => match parse(given) {
                Some(value) => (Some(value), origin.clone()),
                None => {
                    self.settings.faults.push(Fault {
                        key: key.clone(),
                        value: Some(given.to_string()),
                        origin: origin.clone(),
                        what: format!("must be {allowed}"),
                    });
                    (fallback, "default".to_owned())
                }
            },
        };
        let effective = value.as_ref().map(&write).unwrap_or_default();
        self.settings.known.push(Known { key, doc, allowed, default, effective, origin });
        value
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
