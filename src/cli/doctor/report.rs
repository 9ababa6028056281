//! The report, as text or JSON.

use std::fmt::Write;
use std::io::{IsTerminal, stdout};

use serde_json::json;

use super::finding::{Finding, Level, ReportSection};

/// The longest line.
const COLUMNS: usize = 100;

/// The columns before a finding's text: level, then subject.
const LEVEL_COLUMNS: usize = 9;
const SUBJECT_COLUMNS: usize = 24;

const LEVELS: [Level; 4] = [Level::Problem, Level::Warning, Level::Hint, Level::Ok];

/// Whether levels are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colouring {
    Colours,
    None,
}

impl Colouring {
    /// Colours for a terminal, unless `NO_COLOR` is set.
    pub fn of_stdout() -> Self {
        match stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            true => Self::Colours,
            false => Self::None,
        }
    }

    fn colour(self, level: Level, text: &str) -> String {
        let code = match level {
            Level::Ok => 32,
            Level::Hint => 36,
            Level::Warning => 33,
            Level::Problem => 31,
        };
        match self {
            Self::Colours => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::None => text.to_owned(),
        }
    }
}

/// One finding per line, with why and what to do below those that are not ok, and the totals at the end.
pub fn text(parts: &[ReportSection], ink: Colouring) -> String {
    let mut text = String::new();
    for part in parts {
        writeln!(text, "{}", part.title).expect("a text takes every line");
        for finding in &part.findings {
            write_finding(&mut text, finding, ink);
        }
        text.push('\n');
    }
    text.push_str(&sum(parts));
    text
}

fn write_finding(text: &mut String, finding: &Finding, ink: Colouring) {
    let level = ink.colour(finding.level, name(finding.level));
    // Escape sequences take no columns.
    let padding = " ".repeat(LEVEL_COLUMNS - name(finding.level).len());
    let start = format!("  {level}{padding}{:<SUBJECT_COLUMNS$}", finding.subject);
    let indent = 2 + LEVEL_COLUMNS + SUBJECT_COLUMNS;
    write_wrapped(text, &start, indent, &finding.measured);
    for (label, words) in [("why", &finding.why), ("do", &finding.remedy)] {
        if !words.is_empty() {
            let start = format!("{:indent$}", format!("{:11}{label}", ""), indent = 18);
            write_wrapped(text, &start, 18, words);
        }
    }
}

/// Writes words after `start`, and aligns further lines with the first word. Never breaks a word, so that it
/// can be copied.
fn write_wrapped(text: &mut String, start: &str, indent: usize, words: &str) {
    text.push_str(start);
    let mut column = indent;
    for (at, word) in words.split_whitespace().enumerate() {
        let length = word.chars().count();
        match (at, column + 1 + length > COLUMNS) {
            (0, _) => {}
            (_, true) => {
                write!(text, "\n{:indent$}", "").expect("a text takes every line");
                column = indent;
            }
            (_, false) => {
                text.push(' ');
                column += 1;
            }
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

fn sum(parts: &[ReportSection]) -> String {
    let counted = LEVELS.map(|level| match (level, count(parts, level)) {
        (Level::Ok, number) => format!("{number} ok"),
        (level, 1) => format!("1 {}", name(level)),
        (level, number) => format!("{number} {}s", name(level)),
    });
    counted.join(", ")
}

fn count(parts: &[ReportSection], level: Level) -> usize {
    parts.iter().flat_map(|part| &part.findings).filter(|finding| finding.level == level).count()
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Hint => "hint",
        Level::Warning => "warning",
        Level::Problem => "problem",
    }
}

/// `{"parts":[{"title":…,"findings":[{"level":…,"subject":…,"measured":…,"why":…,"do":…}]}],"problems":0,…}`
pub fn json(parts: &[ReportSection]) -> String {
    let [problems, warnings, hints, _] = LEVELS.map(|level| count(parts, level));
    let report =
        json!({ "parts": parts, "problems": problems, "warnings": warnings, "hints": hints });
    format!("{report:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<ReportSection> {
        let long = "so many words that they do not fit a line and go on below the first of them, where \
                    they are easy to read";
        vec![
            ReportSection::new("Host", vec![Finding::ok("open files", "room for 5")]),
            ReportSection::new(
                "Redis",
                vec![Finding::warning("persistence", "off", long, "CONFIG SET x y")],
            ),
        ]
    }

    #[test]
    fn the_text_report_has_aligned_lines_and_totals() {
        let text = text(&parts(), Colouring::None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "Host");
        assert_eq!(lines[1], "  ok       open files              room for 5");
        assert_eq!(lines[4], "  warning  persistence             off");
        assert!(lines[5].starts_with("           why    so many"), "{text}");
        assert!(lines[6].starts_with("                  "), "{text}");
        assert_eq!(lines[7], "           do     CONFIG SET x y");
        assert!(lines.iter().all(|line| line.len() <= COLUMNS), "{text}");
        assert_eq!(lines[9], "0 problems, 1 warning, 0 hints, 1 ok");
    }

    #[test]
    fn the_json_report_has_the_same_findings_and_totals() {
        let report: serde_json::Value = serde_json::from_str(&json(&parts())).unwrap();
        assert_eq!(report["warnings"], 1);
        assert_eq!(report["parts"][1]["findings"][0]["do"], "CONFIG SET x y");
        assert_eq!(report["parts"][0]["findings"][0].get("why"), None);
    }
}
