//! What was looked at, how it is, and what to do.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Worth knowing, or it could not be looked at.
    Hint,
    /// Will hurt under load, or when something else fails.
    Warning,
    /// Does not work, or will not as soon as there is load.
    Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// What was looked at, in a few words.
    pub subject: String,
    pub measured: String,
    /// Why it matters. Empty where all is well, as the next.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The command or setting that mends it.
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

    /// With [`Level::Ok`], why and remedy are left out.
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
