//! The report: one row a figure, with both sides, the ratio, the goal, and whether it was met.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::goal::Goal;
use crate::bench::plot::Plot;

/// One figure. What makes no sense for it is nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The unit of both sides.
    pub unit: &'static str,
    /// The bare driver.
    pub bare: Option<f64>,
    /// The wrapper.
    pub wrapper: Option<f64>,
    /// Wrapper to bare.
    pub ratio: Option<f64>,
    /// The goal in words.
    pub goal: Option<String>,
    /// Whether the goal was met.
    pub met: Option<bool>,
    #[serde(skip)]
    judge: Option<Goal>,
}

impl Row {
    /// A figure of the wrapper alone.
    pub fn of(name: impl Into<String>, unit: &'static str, wrapper: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            bare: None,
            wrapper: Some(wrapper),
            ratio: None,
            goal: None,
            met: None,
            judge: None,
        }
    }

    /// Both sides, and the ratio that follows from them.
    pub fn both(name: impl Into<String>, unit: &'static str, bare: f64, wrapper: f64) -> Self {
        let ratio = (bare > 0.0).then(|| wrapper / bare);
        Self { bare: Some(bare), ratio, ..Self::of(name, unit, wrapper) }
    }

    /// A ratio that was found otherwise, such as between neighbours.
    #[must_use]
    pub fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = Some(ratio);
        self.judged()
    }

    /// What it is held against.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal.words(self.unit));
        self.judge = Some(goal);
        self.judged()
    }

    fn judged(mut self) -> Self {
        self.met = self.judge.and_then(|goal| goal.is_met(self.bare, self.wrapper, self.ratio));
        self
    }
}

/// What one measurement has found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Findings {
    /// The figures.
    pub rows: Vec<Row>,
    /// What must be known to read them; also why one is missing.
    pub notes: Vec<String>,
    /// Distributions.
    pub plots: Vec<Plot>,
}

impl Findings {
    /// Adds those of another one.
    pub fn append(&mut self, mut other: Self) {
        self.rows.append(&mut other.rows);
        self.notes.append(&mut other.notes);
        self.plots.append(&mut other.plots);
    }
}

/// The findings under one heading.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Group {
    /// The heading.
    pub title: String,
    /// What stands under it.
    pub findings: Findings,
}

impl Group {
    /// `prefix` begins every name, so that a name alone says what it is about.
    pub fn new(prefix: &str, title: &str, mut findings: Findings) -> Self {
        for row in &mut findings.rows {
            row.name = format!("{prefix}: {}", row.name);
        }
        Self { title: format!("{prefix}: {title}"), findings }
    }
}

/// All groups and what they were measured under.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// A line each.
    pub conditions: Vec<String>,
    /// In the order of the run.
    pub groups: Vec<Group>,
}

impl Report {
    /// For machines: an array of the rows.
    ///
    /// # Errors
    /// None that can happen: names and numbers.
    pub fn json(&self) -> serde_json::Result<Vec<u8>> {
        let rows: Vec<&Row> = self.groups.iter().flat_map(|group| &group.findings.rows).collect();
        serde_json::to_vec_pretty(&rows)
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# Benchmarks\n\n");
        for condition in &self.conditions {
            let _ = writeln!(text, "- {condition}");
        }
        let rows = || self.groups.iter().flat_map(|group| &group.findings.rows);
        let count = |verdict| rows().filter(|row| row.met == Some(verdict)).count();
        let (met, missed) = (count(true), count(false));
        let _ = writeln!(
            text,
            "\n{} figures; {met} meet their goal, {missed} miss it, the others have none.",
            rows().count()
        );
        for group in &self.groups {
            table(&mut text, group);
        }
        text
    }
}

fn table(text: &mut String, group: &Group) {
    let Findings { rows, notes, plots } = &group.findings;
    let _ = writeln!(text, "\n## {}\n", group.title);
    if !rows.is_empty() {
        text.push_str("| measurement | unit | bare | wrapper | ratio | goal | met |\n");
        text.push_str("| --- | --- | ---: | ---: | ---: | --- | --- |\n");
    }
    for row in rows {
        let number = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), figure_text);
        let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let met = row.met.map_or("-", |met| if met { "yes" } else { "**no**" });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {ratio} | {} | {met} |",
            row.name,
            row.unit,
            number(row.bare),
            number(row.wrapper),
            row.goal.as_deref().unwrap_or("-"),
        );
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        let _ = writeln!(text, "- {note}");
    }
    for plot in plots {
        let _ = writeln!(text, "\n![{}]({})", plot.title, plot.file);
    }
}

/// As many digits as say something.
fn figure_text(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1000.0 => format!("{figure:.0}"),
        size if size >= 100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn report() -> Report {
        let rows = vec![
            Row::both("p50", "us", 10.0, 10.2).goal(Goal::RatioAtMost(1.03)),
            Row::of("earliest", "ms", -1.0).goal(Goal::AtLeast(0.0)),
            Row::both("bare against bare", "us", 10.0, 10.1),
        ];
        let findings = Findings { rows, notes: vec!["a note".to_owned()], ..Findings::default() };
        Report {
            conditions: vec!["two cores".to_owned()],
            groups: vec![Group::new("mysql", "Calls", findings)],
        }
    }

    #[test]
    fn json_is_an_array_of_rows_with_exactly_these_fields() {
        let rows: Value = serde_json::from_slice(&report().json().unwrap()).unwrap();
        let expected = json!([
            {"name": "mysql: p50", "unit": "us", "bare": 10.0, "wrapper": 10.2, "ratio": 1.02,
             "goal": "ratio <= 1.03", "met": true},
            {"name": "mysql: earliest", "unit": "ms", "bare": null, "wrapper": -1.0, "ratio": null,
             "goal": ">= 0 ms", "met": false},
            {"name": "mysql: bare against bare", "unit": "us", "bare": 10.0, "wrapper": 10.1, "ratio": 1.01,
             "goal": null, "met": null},
        ]);
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_figure_that_is_no_number_is_null_and_not_judged() {
        let row = Row::of("median", "ms", f64::NAN).goal(Goal::AtMost(1.0));
        assert_eq!(serde_json::to_value(&row).unwrap()["wrapper"], Value::Null);
        assert_eq!(row.met, None);
    }

    #[test]
    fn a_ratio_of_its_own_is_what_is_judged() {
        let row = Row::both("p50", "us", 10.0, 10.2).goal(Goal::RatioAtMost(1.03)).ratio(1.05);
        assert_eq!(row.met, Some(false));
    }

    #[test]
    fn markdown_counts_and_shows_everything() {
        let text = report().markdown();
        assert!(text.contains("- two cores"), "{text}");
        assert!(text.contains("3 figures; 1 meet their goal, 1 miss it"), "{text}");
        assert!(
            text.contains("| mysql: p50 | us | 10.000 | 10.200 | 1.020 | ratio <= 1.03 | yes |"),
            "{text}"
        );
        assert!(text.contains("| mysql: earliest | ms | - | -1.000 | - | >= 0 ms | **no** |"), "{text}");
        assert!(text.contains("- a note"), "{text}");
    }
}
