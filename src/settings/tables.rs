//! Lists of tables, such as `[[rules]]`: each table is read as a section, such as `rules[0]`.

use super::{KeySpec, RawValue, Section, Settings};

impl Settings {
    /// Calls `read` for each table of `[[name]]`, at most `max`, and returns the results.
    ///
    /// `example`: the list as TOML on one line. The reference shows its keys and values.
    pub fn tables<T>(
        &mut self,
        name: &'static str,
        max: usize,
        example: &'static str,
        doc: &'static str,
        read: impl Fn(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let allowed = format!("a list of at most {max} tables");
        self.specs.extend(schema(name, example, doc, &allowed, &read));
        let Some((given, origin)) = self.take_list(name) else { return Vec::new() };
        let tables = match given.into_tables() {
            Ok(tables) if tables.len() <= max => tables,
            Ok(tables) => {
                let what = format!("must be {allowed}; has {}", tables.len());
                self.fault_from(name.to_owned(), &origin, what);
                return Vec::new();
            }
            Err(why) => {
                let what = format!("must be {allowed}, such as {example}; {why}");
                self.fault_from(name.to_owned(), &origin, what);
                return Vec::new();
            }
        };
        let read_each = tables.into_iter().enumerate().map(|(i, table)| {
            let section = format!("{name}[{i}]");
            for (key, given) in table {
                self.raw.insert(format!("{section}.{key}"), (given, origin.clone()));
            }
            read(&mut Section::new(self, section, origin.clone()))
        });
        read_each.collect()
    }

    /// The list and its origin. A table of that name is a fault: `[rules]` instead of `[[rules]]`.
    fn take_list(&mut self, name: &str) -> Option<(RawValue, String)> {
        let below = format!("{name}.");
        let of_table = self.raw.extract_if(.., |key, _| key.starts_with(&below));
        if let Some((_, (_, origin))) = of_table.collect::<Vec<_>>().into_iter().next() {
            let what = format!("must be a list of tables; in TOML each begins with [[{name}]]");
            self.fault_from(name.to_owned(), &origin, what);
        }
        self.raw.remove(name)
    }
}

/// `list[]`, and every `list[].key` that `read` reads.
fn schema<T>(
    name: &str,
    example: &str,
    doc: &'static str,
    allowed: &str,
    read: impl Fn(&mut Section<'_>) -> T,
) -> Vec<KeySpec> {
    let tables = RawValue::Text(example.to_owned()).into_tables().expect("the example is a list");
    let (list, origin) = (format!("{name}[]"), "example".to_owned());
    let raw = tables.into_iter().flatten();
    let raw = raw.map(|(key, given)| (format!("{list}.{key}"), (given, origin.clone())));
    let mut settings = Settings::new(raw.collect(), Vec::new());
    read(&mut Section::new(&mut settings, list.clone(), origin.clone()));
    let (allowed, default) = (allowed.to_owned(), String::new());
    let all = KeySpec { key: list, doc, allowed, default, effective: example.to_owned(), origin };
    let mut specs = settings.finish().expect("the example has no faults");
    specs.insert(0, all);
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(keys: &[(&str, &str)]) -> Settings {
        let raw = keys.iter().map(|(key, text)| {
            ((*key).to_owned(), (RawValue::Text((*text).to_owned()), "--set".to_owned()))
        });
        Settings::new(raw.collect(), Vec::new())
    }

    fn read(settings: &mut Settings) -> Vec<(Option<usize>, Option<String>)> {
        let secret = |text: &str| (text.len() > 3).then(|| text.to_owned());
        settings.tables("keys", 2, "[{ n.at = 1, secret = \"abcd\" }]", "All.", |section| {
            let number = section.number_if_given("n.at", 0..=9, "One.");
            let show = |_: &_| "***".to_owned();
            (number, section.parsed("secret", None, "long", secret, show, "Two."))
        })
    }

    #[test]
    fn each_table_of_a_list_is_read_as_a_section() {
        let mut settings =
            settings(&[("keys", "[{ n = { at = 5 }, secret = \"hush\" }, { n.at = 6 }]")]);
        assert_eq!(read(&mut settings), [(Some(5), Some("hush".into())), (Some(6), None)]);
        let specs = settings.finish().unwrap();
        let keys: Vec<_> = specs.iter().map(|known| (known.split(), &*known.effective)).collect();
        assert_eq!(
            keys[1..4],
            [
                (("keys[]", "n.at"), "1"),
                (("keys[]", "secret"), "\"***\""),
                (("keys[0]", "n.at"), "5")
            ]
        );
        assert_eq!(keys[0].0, ("keys[]", ""));
        let is_schema: Vec<bool> = specs.iter().map(KeySpec::is_schema).collect();
        assert_eq!(is_schema, [true, true, true, false, false, false, false]);
    }

    #[test]
    fn a_fault_of_a_whole_list_names_its_origin() {
        let mut settings = settings(&[("keys", "[{ secret = \"hush\" }]")]);
        read(&mut settings);
        settings.fault("keys", "is no good");
        settings.fault("others", "are not there");
        let faults = settings.finish().unwrap_err().to_string();
        assert!(faults.contains("keys (--set): is no good"), "{faults}");
        assert!(faults.contains("others (default): are not there"), "{faults}");
    }

    #[test]
    fn an_unreadable_list_is_not_quoted() {
        for list in ["[{ secret = \"hush }]", "hush", "[\"hush\"]", "[{ secret = hush }]"] {
            let mut settings = settings(&[("keys", list)]);
            assert_eq!(read(&mut settings), []);
            let faults = settings.finish().unwrap_err().to_string();
            assert!(faults.contains("keys (--set): must be a list of at most 2"), "{faults}");
            assert!(!faults.contains("hush"), "{faults}");
        }
        let mut settings = settings(&[("keys.0.secret", "hush"), ("keys.1.secret", "hush")]);
        assert_eq!(read(&mut settings), []);
        let faults = settings.finish().unwrap_err();
        assert!(faults.to_string().contains("[[keys]]") && faults.0.len() == 1, "{faults}");
    }
}
