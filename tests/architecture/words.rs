//! The retired words of docs/GLOSSARY.md stay retired, and a test's name states a whole claim.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tokens::all_tokens;

const GLOSSARY: &str = "docs/GLOSSARY.md";
const HEADING: &str = "## Retired words";

const SEARCHED: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "benches",
    "config",
    "deploy",
    "docs",
    "examples",
    "k8s",
    "load-tests",
    "src",
    "tests",
    "web",
];
const SEARCHED_ENDINGS: &[&str] =
    &["conf", "html", "js", "lua", "md", "mjs", "py", "rs", "sh", "toml", "tpl", "yaml", "yml"];

/// A subject is missing before these: `it_is_closed` says nothing in a list of failures.
const SUBJECTLESS: &[&str] = &["also_", "it_", "nor_", "one_that_", "that_", "what_", "who_"];

/// Where a retired word is searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scope {
    /// In every line, also as a part of an identifier.
    Everywhere,
    /// In comments and in Markdown, outside of code spans and quotes.
    Prose,
    /// As a part of a Rust identifier.
    Names,
    /// As a whole Rust identifier.
    Types,
}

#[derive(Debug, PartialEq)]
struct Retired {
    /// A word, or several in a row.
    words: Vec<String>,
    text: String,
    instead: String,
    scope: Scope,
}

/// A row of the table: `` | `word`, `two words` | what is used instead | scope | ``.
fn retired(row: &str) -> Vec<Retired> {
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [texts, instead, scope] = cells[..] else { panic!("three columns: {row}") };
    let scope = match scope {
        "everywhere" => Scope::Everywhere,
        "prose" => Scope::Prose,
        "names" => Scope::Names,
        "types" => Scope::Types,
        _ => panic!("{scope} is no scope: {row}"),
    };
    let texts = texts.split('`').skip(1).step_by(2);
    let retired = texts.map(|text| Retired {
        words: parts(text),
        text: text.to_owned(),
        instead: instead.to_owned(),
        scope,
    });
    retired.collect()
}

fn glossary() -> String {
    fs::read_to_string(root().join(GLOSSARY)).expect("the glossary is there")
}

fn table() -> Vec<Retired> {
    let page = glossary();
    let (_, section) = page.split_once(HEADING).expect("the glossary lists retired words");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(retired).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text files below `path`, which may be one itself.
fn files(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().expect("an entry has a name").to_string_lossy();
    if path.is_dir() {
        if name == "node_modules" || name == "target" || name.starts_with('.') {
            return Vec::new();
        }
        let entries = fs::read_dir(path).expect("a directory is readable");
        return entries.flat_map(|entry| files(&entry.expect("it is readable").path())).collect();
    }
    let is_text = path.extension().is_some_and(|it| SEARCHED_ENDINGS.iter().any(|end| it == *end));
    if is_text { vec![path.to_path_buf()] } else { Vec::new() }
}

/// The words of a text in lower case: `publishOutcome`, `publish_outcome` and `publish outcome` are the same two.
fn parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        let mut part = String::new();
        let mut follows_lower = false;
        for c in word.chars() {
            if c.is_uppercase() && follows_lower {
                parts.push(std::mem::take(&mut part));
            }
            follows_lower = c.is_lowercase();
            part.extend(c.to_lowercase());
        }
        if !part.is_empty() {
            parts.push(part);
        }
    }
    parts
}

/// Of each line what people read as prose.
fn prose(text: &str, ending: &str) -> Vec<String> {
    let mut is_code = false;
    let lines = text.lines().map(|line| {
        if ending == "md" {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            return if is_code || is_fence { "" } else { line };
        }
        let sign = match ending {
            "js" | "mjs" | "rs" => "//",
            "lua" => "--",
            _ => "# ",
        };
        let start = line.trim_start();
        if start.starts_with(sign) {
            start
        } else {
            line.split_once(&format!(" {sign}")).map_or("", |it| it.1)
        }
    });
    lines.map(without_quotes).collect()
}

/// The values of a rule's access, as the generated references list them.
const ACCESS_VALUES: &str = "anyone, user, token, nobody";

/// A line without its code spans, without what is in double quotes, and without the values of access.
fn without_quotes(line: &str) -> String {
    let outside = |text: &str, sign| text.split(sign).step_by(2).collect::<Vec<_>>().join(" ");
    outside(&outside(line, '`'), '"').replace(ACCESS_VALUES, "")
}

/// A file as the scopes see it.
struct Searched {
    every_line: Vec<Vec<String>>,
    prose: Vec<Vec<String>>,
    /// Identifiers and their lines, in Rust.
    names: Vec<(usize, String)>,
}

impl Searched {
    fn new(text: &str, ending: &str) -> Self {
        let tokens = if ending == "rs" { all_tokens(text) } else { Vec::new() };
        let names = tokens.iter().filter(|token| token.is_word());
        Self {
            every_line: text.lines().map(parts).collect(),
            prose: prose(text, ending).iter().map(|line| parts(line)).collect(),
            names: names.map(|token| (token.line, token.text.to_owned())).collect(),
        }
    }

    /// The lines that have the retired word.
    fn lines(&self, retired: &Retired) -> BTreeSet<usize> {
        let has =
            |words: &[String]| words.windows(retired.words.len()).any(|it| it == retired.words);
        let numbered = |lines: &[Vec<String>]| {
            let found = lines.iter().enumerate().filter(|(_, words)| has(words));
            found.map(|(at, _)| at + 1).collect()
        };
        let named = |is_it: &dyn Fn(&str) -> bool| {
            let found = self.names.iter().filter(|(_, name)| is_it(name));
            found.map(|(line, _)| *line).collect()
        };
        match retired.scope {
            Scope::Everywhere => numbered(&self.every_line),
            Scope::Prose => numbered(&self.prose),
            Scope::Names => named(&|name| has(&parts(name))),
            Scope::Types => named(&|name| name == retired.text),
        }
    }
}

/// The texts of all files that are searched, by their paths in the repository.
fn searched() -> Vec<(String, String)> {
    let files = SEARCHED.iter().flat_map(|path| files(&root().join(path)));
    let named = files.map(|file| {
        let name = file.strip_prefix(root()).expect("it was found there").display().to_string();
        (name, file)
    });
    let read = named.map(|(name, file)| {
        let mut text = fs::read_to_string(&file).expect("a text is UTF-8");
        if name == GLOSSARY {
            // The table itself names the words.
            text.truncate(text.find(HEADING).expect("the glossary lists retired words"));
        }
        (name, text)
    });
    read.collect()
}

#[test]
fn retired_words_are_used_nowhere() {
    let table = table();
    assert!(!table.is_empty(), "the table of retired words is read");
    let mut faults = Vec::new();
    for (file, text) in searched() {
        let ending = file.rsplit('.').next().unwrap_or_default();
        let searched = Searched::new(&text, ending);
        for retired in &table {
            for line in searched.lines(retired) {
                faults
                    .push(format!("{file}:{line}: `{}`: write {}", retired.text, retired.instead));
            }
        }
    }
    assert!(faults.is_empty(), "{GLOSSARY} says what to write instead:\n{}", faults.join("\n"));
}

/// The names of test functions, each with its line.
fn test_names(source: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut is_test = false;
    for (at, line) in source.lines().map(str::trim).enumerate() {
        if line.starts_with("#[") {
            is_test |= line.contains("test") && !line.contains("cfg(");
        } else if let Some((_, rest)) = line.split_once("fn ")
            && std::mem::take(&mut is_test)
        {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            names.push((at + 1, rest[..end].to_owned()));
        }
    }
    names
}

#[test]
fn test_names_begin_with_their_subject() {
    let mut faults = Vec::new();
    let searched = searched();
    for (file, text) in searched.iter().filter(|(file, _)| file.ends_with(".rs")) {
        for (line, name) in test_names(text) {
            if SUBJECTLESS.iter().any(|start| name.starts_with(start)) {
                faults.push(format!("{file}:{line}: {name}"));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "these names do not say what they are about:\n{}",
        faults.join("\n")
    );
}

#[test]
fn a_retired_word_is_found_in_its_scope_only() {
    let source = "// A berry of `apples` or \"apples\", ripe  plum.\nlet on_berry = Apple::of(\"berry\"); // apple\nenum RipePlum { Pear }";
    let searched = Searched::new(source, "rs");
    let lines = |row: &str| -> Vec<usize> {
        retired(row).iter().flat_map(|retired| searched.lines(retired)).collect()
    };
    assert_eq!(lines("| `berry` | x | everywhere |"), [1, 2]);
    assert_eq!(lines("| `berry` | x | names |"), [2]);
    assert_eq!(lines("| `apple`, `apples` | x | prose |"), [2]);
    assert_eq!(lines("| `apples` | x | everywhere |"), [1]);
    assert_eq!(lines("| `ripe plum` | x | everywhere |"), [1, 3]);
    assert_eq!(lines("| `Pear` | x | types |"), [3]);
}

#[test]
fn names_of_tests_are_found_behind_their_attributes() {
    let source = "#[cfg(test)]\nfn no() {}\n#[tokio::test(start_paused = true)]\n#[ignore]\nasync fn it_is() {}\nfn it_helps() {}";
    assert_eq!(test_names(source), [(5, "it_is".to_owned())]);
}
