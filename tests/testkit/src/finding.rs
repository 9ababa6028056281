//! The violations that the checks report, and their format.

use std::fmt::{self, Debug};
use std::time::Instant;

/// Log lines shown before and after a finding.
const AROUND: usize = 8;

/// Close codes that no fault of a test explains.
const UNEXPECTED_CLOSES: [&str; 5] = ["1002", "1003", "1007", "1008", "1011"];

/// A violated guarantee.
#[derive(Clone, Debug)]
pub struct Finding<K> {
    pub kind: K,
    pub client: String,
    pub channel: String,
    /// The number of publications concerned.
    pub count: usize,
    pub what: String,
    /// The lines of the client's log around it.
    pub around: Vec<String>,
}

/// One client's log entries with their times.
pub type Entries<E> = [(Instant, E)];

/// The number of publications concerned by all findings of a kind.
pub fn count<K: PartialEq>(findings: &[Finding<K>], kind: K) -> usize {
    findings.iter().filter(|it| it.kind == kind).map(|it| it.count).sum()
}

/// The first `most` findings of a kind in full, each after `title`, and the number of the others.
pub fn render<K: Debug + PartialEq>(
    findings: &[Finding<K>],
    kind: &K,
    most: usize,
    title: &str,
) -> String {
    let all: Vec<_> = findings.iter().filter(|it| it.kind == *kind).collect();
    let mut text: String =
        all.iter().take(most).map(|finding| format!("{title}{finding}")).collect();
    if all.len() > most {
        text += &format!("{title}{kind:?}: {} more times\n", all.len() - most);
    }
    text
}

/// Whether a close reason has one of the unexpected close codes.
pub fn is_unexpected_close(why: &str) -> bool {
    UNEXPECTED_CLOSES.iter().any(|code| why.starts_with(code))
}

/// Findings for entries without a channel that no fault explains.
pub fn unexpected_entries<E, K: Clone>(
    (client, entries): (&str, &Entries<E>),
    kind: &K,
    is_unexpected: impl Fn(&E) -> bool,
    line: impl Fn(Instant, &E) -> String,
) -> Vec<Finding<K>> {
    let unexpected = entries.iter().filter(|(_, entry)| is_unexpected(entry));
    let finding = |(when, entry): &(Instant, E)| Finding {
        kind: kind.clone(),
        client: client.to_owned(),
        channel: "no channel".to_owned(),
        count: 1,
        what: line(*when, entry),
        around: Vec::new(),
    };
    unexpected.map(finding).collect()
}

/// The lines of the relevant entries before and after the entry `at`.
pub fn context_lines<E>(
    entries: &Entries<E>,
    at: usize,
    about: impl Fn(&E) -> bool,
    line: impl Fn(Instant, &E) -> String,
) -> Vec<String> {
    let before = entries[..at.min(entries.len())].iter().rev().filter(|it| about(&it.1));
    let mut lines: Vec<_> = before.take(AROUND).collect();
    lines.reverse();
    lines.extend(entries.iter().skip(at).filter(|it| about(&it.1)).take(AROUND));
    lines.into_iter().map(|(when, entry)| line(*when, entry)).collect()
}

impl<K: Debug> fmt::Display for Finding<K> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{:?}: {} on {}: {}", self.kind, self.client, self.channel, self.what)?;
        self.around.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}
