//! A key that a module reads.

#[derive(Clone, Debug)]
pub struct KeySpec {
    /// `section.key`, or `key` at the top; `list[0].key` in a list of tables. `list[]` stands for the
    /// list, and `list[].key` for the key in each of its tables.
    pub key: String,
    pub doc: &'static str,
    /// A description of the allowed values.
    pub allowed: String,
    /// As TOML; empty if there is none.
    pub default: String,
    /// As TOML, secrets masked; empty if not set. For `list[].key`, an example.
    pub effective: String,
    /// The source of the effective value; `default` if no layer set it.
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

    /// Whether it describes a key of a list's tables, and is not itself set anywhere.
    pub fn is_schema(&self) -> bool {
        self.key.contains("[]")
    }
}
