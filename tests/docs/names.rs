//! Metrics, settings and log messages that pages name exist in the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tidegate::telemetry::{Levels, exposition};

use super::pages::{files_below, is_generated};
use super::path;
use super::references::known;

/// Redis functions, whose names begin as those of metrics do.
const FUNCTIONS: &[&str] =
    &["tidegate_end", "tidegate_publish", "tidegate_renew", "tidegate_revoke", "tidegate_secret"];

/// Parts of messages that the pages tell operators to look for.
const LOG_MESSAGES: &[&str] = &[
    "a slot that redis moves cannot be used",
    "keys cannot be fetched",
    "log lines were dropped here",
    "new TLS files cannot be used",
    "no replica keeps up",
    "redis refused a command",
    "the collector accepts no traces",
    "the new configuration widens access",
    "the rules in Redis are not this node's",
    "these nodes use other rules",
];

/// Endings of the series of a histogram.
const SERIES: &[&str] = &["_bucket", "_count", "_sum"];

/// The code spans of all pages for readers, each with its file.
fn code_spans() -> Vec<(String, String)> {
    let mut spans = Vec::new();
    for file in files_below(Path::new("docs"), ".md") {
        let text = fs::read_to_string(path("").join(&file)).expect("a page is UTF-8");
        let is_for_readers =
            !file.starts_with("docs/decisions") && !file.ends_with("ARCHITECTURE.md");
        if is_for_readers && !is_generated(&text) {
            // Code blocks are between three backticks: an empty span on either side of theirs.
            let code = text.split('`').skip(1).step_by(2);
            spans.extend(code.map(|code| (file.display().to_string(), code.to_owned())));
        }
    }
    spans
}

/// Words of letters, digits, `_` and `.`.
fn names(code: &str) -> impl Iterator<Item = &str> {
    let words = code.split(|it: char| !(it.is_ascii_alphanumeric() || "_.".contains(it)));
    words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty())
}

#[test]
fn every_metric_that_a_page_names_exists() {
    let exposition = exposition(Levels::default());
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let metrics: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    for (file, code) in code_spans() {
        for name in names(&code).filter(|name| name.starts_with("tidegate_")) {
            let base = SERIES.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
            assert!(
                metrics.contains(name) || metrics.contains(base) || FUNCTIONS.contains(&name),
                "{file} names the metric {name}, which does not exist"
            );
        }
    }
}

#[test]
fn every_setting_that_a_page_names_exists() {
    let keys: BTreeSet<String> = known().iter().map(|known| known.key.replace("[]", "")).collect();
    let sections: BTreeSet<&str> =
        keys.iter().filter_map(|key| key.split_once('.')).map(|(section, _)| section).collect();
    for (file, code) in code_spans() {
        for name in names(&code) {
            let Some((section, key)) = name.split_once('.') else { continue };
            if !sections.contains(section) || ["js", "lua", "rs"].contains(&key) {
                continue;
            }
            // A section of keys, or a key of a rule without `rules.`.
            let (below, of_a_rule) = (format!("{name}."), format!("rules.{name}"));
            assert!(
                keys.iter().any(|key| key == name || key.starts_with(&below) || *key == of_a_rule),
                "{file} names the setting {name}, which does not exist"
            );
        }
    }
}

#[test]
fn every_log_message_that_a_page_quotes_is_written_by_the_code() {
    let joined = |directory: &str, ending: &str| {
        let files = files_below(Path::new(directory), ending);
        let texts = files.iter().map(|file| fs::read_to_string(path("").join(file)));
        let text: String = texts.map(|text| text.expect("a file is UTF-8")).collect();
        // A string in the source, and a paragraph of a page, may go over several lines.
        text.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (pages, source) = (joined("docs/operating", ".md"), joined("src", ".rs"));
    for message in LOG_MESSAGES {
        assert!(pages.contains(message), "no page quotes {message:?}");
        assert!(source.contains(message), "the source has no message {message:?}");
    }
}
