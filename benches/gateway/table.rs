//! The table of results, and the length of measurements.

use std::fmt;

/// How long to measure: `Quick` is for trying out a change; its results vary more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Full,
    Quick,
}

impl Length {
    pub fn choose<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// The goal of a value.
#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Only reported.
    None,
}

impl Goal {
    fn outcome(&self, value: f64) -> &'static str {
        let met = match *self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::None => return "",
        };
        if met { "met" } else { "NOT met" }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AtLeast(least) => write!(to, ">= {}", number(least)),
            Self::AtMost(most) => write!(to, "<= {}", number(most)),
            Self::None => Ok(()),
        }
    }
}

struct Row {
    measure: String,
    value: String,
    floor: String,
    goal: String,
    outcome: &'static str,
}

#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Adds a value in `unit` with its goal.
    pub fn add(&mut self, measure: &str, value: f64, unit: &str, goal: Goal) {
        self.push(Row {
            measure: measure.into(),
            value: format!("{} {unit}", number(value)),
            floor: String::new(),
            goal: goal.to_string(),
            outcome: goal.outcome(value),
        });
    }

    /// Adds a value and the floor's: the goal is for their ratio.
    pub fn add_with_floor(
        &mut self,
        measure: &str,
        (value, floor): (f64, f64),
        unit: &str,
        ratio: f64,
        goal: Goal,
    ) {
        self.push(Row {
            measure: measure.into(),
            value: format!("{} {unit}", number(value)),
            floor: number(floor),
            goal: format!("ratio {} ({goal})", number(ratio)),
            outcome: goal.outcome(ratio),
        });
    }

    /// Adds a measurement that failed.
    pub fn add_failed(&mut self, measure: &str) {
        self.push(Row {
            measure: measure.into(),
            value: "-".into(),
            floor: String::new(),
            goal: String::new(),
            outcome: "FAILED",
        });
    }

    fn push(&mut self, row: Row) {
        println!("  {}: {}  {} {}", row.measure, row.value, row.goal, row.outcome);
        self.0.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            ["measure", "value", "the floor's", "ratio or goal", "outcome"].map(String::from);
        let rows: Vec<[String; 5]> = std::iter::once(head)
            .chain(self.0.iter().map(|row| {
                [&row.measure, &row.value, &row.floor, &row.goal, row.outcome]
                    .map(|cell: &str| cell.to_owned())
            }))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let [measure, value, floor, goal] = [0, 1, 2, 3].map(width);
        for [a, b, c, d, e] in &rows {
            writeln!(to, "{a:measure$}  {b:>value$}  {c:>floor$}  {d:goal$}  {e}")?;
        }
        Ok(())
    }
}

/// About three significant digits, with `_` between groups of thousands.
pub fn number(value: f64) -> String {
    if value.abs() < 1000.0 {
        let decimals = match value.abs() {
            below if below < 10.0 => 3,
            below if below < 100.0 => 2,
            _ => 1,
        };
        let text = format!("{value:.decimals$}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// The median: of an even number of values, the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}
