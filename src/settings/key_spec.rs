//! A key that somebody asked for.

#[derive(Clone, Debug)]
pub struct KeySpec {
    /// `section.key`, or `key` at the top; `list[0].key` in a list of tables. `list[]` stands for the
    /// list, and `list[].key` for the key in each of its tables.
    pub key: String,
    pub doc: &'static str,
    /// What may be written, in words.
    pub allowed: String,
    /// As TOML; empty where there is none.
    pub default: String,
    /// As TOML, secrets masked; empty where nothing is set. Of `list[].key`, an example.
    pub effective: String,
    /// Where the effective value came from; `default` where nobody said anything.
    pub origin: String,
}

impl KeySpec {
    /// `list[0]` and `history.size` of `list[0].history.size`; the section is empty at the top.
    pub fn split(&self) -> (&str, &str) {
        match self.key.split_once("].") {
            Some((list, key)) => (&self.key[..=list.len()], key),
            None if self.is_schema() => (&self.key, ""),
            None => self.key.rsplit_once('.').unwrap_or(("", &self.key)),
        }
    }

    /// Says what may be written in a list of tables; it is in none.
    pub fn is_schema(&self) -> bool {
        self.key.contains("[]")
    }
}
