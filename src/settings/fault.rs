//! Faults of a configuration, with texts that help to fix them.

use std::collections::BTreeSet;
use std::fmt;

use strsim::levenshtein;

/// One fault. It quotes no value, because the value may be a secret.
#[derive(Clone, Debug)]
pub struct SettingsFault {
    pub key: String,
    /// A file's path, an environment variable, a flag, or `default`.
    pub origin: String,
    pub what: String,
}

/// All faults of a configuration.
#[derive(Clone, Debug, thiserror::Error)]
pub struct SettingsFaults(pub Vec<SettingsFault>);

impl SettingsFault {
    /// A fault of a whole layer, such as a file that cannot be read.
    pub fn of_layer(origin: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: String::new(), origin: origin.into(), what: what.into() }
    }
}

impl fmt::Display for SettingsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, origin, what } = self;
        match key.as_str() {
            "" => write!(f, "{origin}: {what}"),
            _ => write!(f, "{key} ({origin}): {what}"),
        }
    }
}

impl fmt::Display for SettingsFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a fault")?,
            many => write!(f, "the configuration has {many} faults")?,
        }
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// The text for a key that no module reads.
pub fn unknown(key: &str, known: &BTreeSet<&str>) -> String {
    // In a list of tables, suggest only keys of the same table.
    let table = key.rfind("].").map_or("", |end| &key[..end + "].".len()]);
    let of_table = known.range(table..).take_while(|known| known.starts_with(table));
    match nearest(key, of_table.copied()) {
        Some(near) => format!("no such key; did you mean {near}?"),
        None => "no such key; docs/CONFIG.md lists them all".to_owned(),
    }
}

/// The known key with the fewest edits, if at most a third of the characters differ.
pub fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|candidate| (levenshtein(key, candidate), candidate)).min()?;
    (near.0 <= key.len().max(3) / 3).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_similar_key_is_suggested() {
        let near = |key| nearest(key, ["server.listen", "demo"].into_iter());
        assert_eq!(near("server.lsten"), Some("server.listen"));
        assert_eq!(nearest("dämönstr", ["demonstr"].into_iter()), Some("demonstr"));
        assert_eq!(nearest("", ["abcd"].into_iter()), None);
        // Equally many edits: the first by name.
        assert_eq!(nearest("demi", ["demo", "deme"].into_iter()), Some("deme"));
        assert_eq!(near("rules"), None);
    }
}
