//! No two types of `src/` have the same name.

use std::collections::BTreeMap;
use std::fs;

use crate::tokens::{Token, nesting, tokens};
use crate::{source_directory, sources};

/// Names that each module may define for itself.
const SHARED: &[&str] = &["Arguments", "Config", "Error"];

const DEFINING: &[&str] = &["struct", "enum", "trait", "union"];

/// The types that a file defines, including those in functions and inline modules. Type aliases count only at the top
/// level: nested ones are associated types of an `impl`.
fn defined<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    let mut depth = 0;
    let mut names = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        depth += nesting(pair[0].text);
        let defines = DEFINING.contains(&pair[0].text) || (pair[0].text == "type" && depth == 0);
        // Elsewhere, `union` is an ordinary identifier.
        let names_it = pair[1].is_word() && tokens.get(at + 2).is_some_and(|next| next.text != ".");
        if defines && names_it && pair[1].text.starts_with(char::is_uppercase) {
            names.push(pair[1].text);
        }
    }
    names
}

#[test]
fn a_type_name_is_defined_only_once() {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources(&source_directory()) {
        let source = fs::read_to_string(&path).expect("a source is text");
        let file = path
            .strip_prefix(source_directory())
            .expect("it was found there")
            .display()
            .to_string();
        for name in defined(&tokens(&source)) {
            files.entry(name.to_owned()).or_default().push(file.clone());
        }
    }
    let duplicates: Vec<String> = files
        .iter()
        .filter(|(name, files)| files.len() > 1 && !SHARED.contains(&name.as_str()))
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert!(files.len() > SHARED.len(), "no types were found");
    assert!(duplicates.is_empty(), "several types have the same name:\n{}", duplicates.join("\n"));
}

#[test]
fn type_definitions_are_found_in_every_form() {
    let source = "pub struct A; pub(super) enum B { C } trait D { type E; } type F = A; fn f() { struct G; }\n\
                  mod tests { struct H<T>(T); } impl D for A { type E = B; } // struct I;";
    assert_eq!(defined(&tokens(source)), ["A", "B", "D", "F", "G", "H"]);
}
