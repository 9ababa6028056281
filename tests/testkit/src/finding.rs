//! What a checker finds in what clients wrote down, and how it is shown.

use std::fmt::{self, Debug};
use std::time::Instant;

/// Lines shown on each side of what was found.
const AROUND: usize = 8;

/// Close codes that nothing explains that a test does to a node.
const UNEXPECTED_CLOSES: [&str; 5] = ["1002", "1003", "1007", "1008", "1011"];

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Finding<K> {
    pub kind: K,
    pub client: String,
    pub channel: String,
    /// How many publications it is about.
    pub count: usize,
    pub what: String,
    /// The lines around it of what the client wrote down.
    pub around: Vec<String>,
}

/// What one client wrote down, with its moment.
pub type Entries<E> = [(Instant, E)];

/// How many publications the findings of a kind are about.
pub fn count<K: PartialEq>(findings: &[Finding<K>], kind: K) -> usize {
    findings.iter().filter(|it| it.kind == kind).map(|it| it.count).sum()
}

/// The first `most` findings of a kind in full, each after `title`; of the others, how many there are.
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

/// A fault in the node.
pub fn is_unexpected_close(why: &str) -> bool {
    UNEXPECTED_CLOSES.iter().any(|code| why.starts_with(code))
}

/// Those entries that concern no channel and that nothing explains: a fault in the node, an odd answer.
pub fn unexpected_entries<E, K: Clone>(
    (client, entries): (&str, &Entries<E>),
    kind: &K,
    is_odd: impl Fn(&E) -> bool,
    line: impl Fn(Instant, &E) -> String,
) -> Vec<Finding<K>> {
    let odd = entries.iter().filter(|(_, entry)| is_odd(entry));
    let finding = |(when, entry): &(Instant, E)| Finding {
        kind: kind.clone(),
        client: client.to_owned(),
        channel: "no channel".to_owned(),
        count: 1,
        what: line(*when, entry),
        around: Vec::new(),
    };
    odd.map(finding).collect()
}

/// The lines before and after the entry `at`, of those that are about the same.
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
