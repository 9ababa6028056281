//! The map of the source, and the records of the decisions behind it.

use std::fs;

use super::path;

const MAP_LINES_MAX: usize = 200;
const RECORD_LINES_MAX: usize = 60;

const INDEX: &str = "README.md";

/// What each record answers, in this order.
const HEADINGS: [&str; 4] = ["Context", "Decision", "Consequences", "What would change it"];

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The records' names and texts.
fn records() -> Vec<(String, String)> {
    let directory = fs::read_dir(path("docs/decisions")).expect("the directory is readable");
    let names = directory.map(|entry| {
        entry.expect("an entry is readable").file_name().to_string_lossy().into_owned()
    });
    let records = names.filter(|name| name != INDEX).map(|name| {
        let text = read(&format!("docs/decisions/{name}"));
        (name, text)
    });
    let mut records: Vec<_> = records.collect();
    records.sort();
    records
}

#[test]
fn the_map_of_the_source_fits_two_pages() {
    let lines = read("docs/ARCHITECTURE.md").lines().count();
    assert!(lines <= MAP_LINES_MAX, "docs/ARCHITECTURE.md has {lines} lines");
}

#[test]
fn every_decision_record_is_short_and_answers_the_same_questions() {
    for (name, text) in records() {
        let lines = text.lines().count();
        assert!(lines <= RECORD_LINES_MAX, "{name} has {lines} lines");
        let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
        let answered: Vec<&str> = headings.filter(|heading| HEADINGS.contains(heading)).collect();
        assert_eq!(answered, HEADINGS, "headings of {name}");
    }
}

#[test]
fn decision_records_are_numbered_without_gaps_and_listed_in_the_index() {
    let index = read("docs/decisions/README.md");
    for (at, (name, text)) in records().iter().enumerate() {
        let number = at + 1;
        assert!(name.starts_with(&format!("{number:04}-")), "{name} is record {number}");
        assert!(text.starts_with(&format!("# {number}. ")), "the title of {name} has its number");
        assert!(index.contains(&format!("({name})")), "docs/decisions/README.md lists {name}");
    }
}
