//! One line a measurement: both sides, the ratio, the goal, and whether it was met.

use std::fmt::Write as _;

use serde::Serialize;

/// One measurement.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// The unit of both sides.
    pub unit: &'static str,
    /// The bare driver, where there is such a side.
    pub bare: Option<f64>,
    /// The wrapper.
    pub wrapper: f64,
    /// Wrapper to bare.
    pub ratio: Option<f64>,
    /// The goal in words.
    pub goal: String,
    /// Whether the goal was met.
    pub met: bool,
}

impl Line {
    /// A comparison that must not exceed a ratio.
    pub fn ratio(name: impl Into<String>, unit: &'static str, bare: f64, wrapper: f64, most: f64) -> Self {
        let ratio = wrapper / bare;
        Self {
            name: name.into(),
            unit,
            bare: Some(bare),
            wrapper,
            ratio: Some(ratio),
            goal: format!("ratio <= {most}"),
            met: ratio <= most,
        }
    }

    /// A figure that must not exceed a limit.
    pub fn at_most(name: impl Into<String>, unit: &'static str, wrapper: f64, most: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            bare: None,
            wrapper,
            ratio: None,
            goal: format!("<= {most} {unit}"),
            met: wrapper <= most,
        }
    }

    /// The same on both sides: how far its ratio is from one is what the others may err by. Not judged.
    pub fn control(name: impl Into<String>, unit: &'static str, first: f64, second: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            bare: Some(first),
            wrapper: second,
            ratio: Some(second / first),
            goal: "noise".to_owned(),
            met: true,
        }
    }

    /// Instructions of both sides; counted, not judged.
    pub fn counted(name: impl Into<String>, bare: f64, wrapper: f64) -> Self {
        Self {
            name: name.into(),
            unit: "instructions",
            bare: Some(bare),
            wrapper,
            ratio: (bare > 0.0).then(|| wrapper / bare),
            goal: "counted".to_owned(),
            met: true,
        }
    }

    /// Both sides with a limit on the difference.
    pub fn difference(
        name: impl Into<String>,
        unit: &'static str,
        bare: f64,
        wrapper: f64,
        most: f64,
    ) -> Self {
        Self {
            name: name.into(),
            unit,
            bare: Some(bare),
            wrapper,
            ratio: Some(wrapper / bare),
            goal: format!("<= +{most} {unit}"),
            met: wrapper - bare <= most,
        }
    }
}

/// The report as a Markdown table.
pub fn markdown(conditions: &str, lines: &[Line]) -> String {
    let mut text = format!("# Benchmarks\n\n{conditions}\n\n");
    text.push_str("| measurement | unit | bare | wrapper | ratio | goal | met |\n");
    text.push_str("| --- | --- | ---: | ---: | ---: | --- | --- |\n");
    for line in lines {
        let bare = line.bare.map_or_else(|| "-".to_owned(), |bare| format!("{bare:.3}"));
        let ratio = line.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let met = if line.met { "yes" } else { "no" };
        let _ = writeln!(
            text,
            "| {} | {} | {bare} | {:.3} | {ratio} | {} | {met} |",
            line.name, line.unit, line.wrapper, line.goal
        );
    }
    text
}
