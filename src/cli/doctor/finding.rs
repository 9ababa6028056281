//! A finding: what was checked, the result, and what to do.

use serde::Serialize;

/// How severe a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Worth knowing, or it could not be checked.
    Hint,
    /// Causes trouble under load, or when something else fails.
    Warning,
    /// Does not work, or stops working under load.
    Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// What was checked, in a few words.
    pub subject: String,
    pub measured: String,
    /// Why it matters. Empty for `Ok`, as is `remedy`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The command or setting that fixes it.
    #[serde(rename = "do", skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    pub fn ok(subject: &str, measured: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, measured, "", "")
    }

    pub fn hint(
        subject: &str,
        measured: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Level::Hint, subject, measured, why, remedy)
    }

    pub fn warning(
        subject: &str,
        measured: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Level::Warning, subject, measured, why, remedy)
    }

    pub fn problem(
        subject: &str,
        measured: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Level::Problem, subject, measured, why, remedy)
    }

    /// With [`Level::Ok`], drops why and remedy.
    pub fn new(
        level: Level,
        subject: &str,
        measured: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (why, remedy) = match level {
            Level::Ok => Default::default(),
            _ => (why.into(), remedy.into()),
        };
        Self { level, subject: subject.to_owned(), measured: measured.into(), why, remedy }
    }
}

/// Findings under one heading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportSection {
    pub title: String,
    pub findings: Vec<Finding>,
}

impl ReportSection {
    pub fn new(title: impl Into<String>, findings: Vec<Finding>) -> Self {
        Self { title: title.into(), findings }
    }
}
