//! Distributions as pictures: a lane a series, a dot a sample, a bar at the median.

use std::fmt::Write as _;

use crate::bench::stats::Sorted;

/// One picture.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Plot {
    /// Name of the file.
    pub file: String,
    /// The heading.
    pub title: String,
    /// What the axis shows.
    pub unit: &'static str,
    /// What the lanes show.
    pub series: Vec<Series>,
    /// A line across all lanes: from here on the goal is missed.
    pub limit: Option<f64>,
}

/// The samples of one lane.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Series {
    /// Its label.
    pub label: String,
    /// The samples.
    pub samples: Sorted,
}

impl Series {
    /// A lane.
    pub fn new(label: impl Into<String>, samples: impl IntoIterator<Item = f64>) -> Self {
        Self::of(label, Sorted::new(samples))
    }

    /// A lane of samples that are sorted already.
    pub fn of(label: impl Into<String>, samples: Sorted) -> Self {
        Self { label: label.into(), samples }
    }
}

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 70.0;
const LANE: f64 = 46.0;
/// Dots a lane; more would hide each other.
const DOTS: usize = 400;
/// Beyond this quantile of a lane a sample is drawn at the margin, so that one outlier does not flatten the rest.
const SHOWN: f64 = 0.98;

const INK: &str = "#1f2933";
const MUTED: &str = "#7b8794";
const GRID: &str = "#e4e7eb";
const BAD: &str = "#d64545";
const COLORS: [&str; 2] = ["#7b8794", "#2f9e6e"];

impl Plot {
    /// A picture without a limit.
    pub fn new(
        file: impl Into<String>,
        title: impl Into<String>,
        unit: &'static str,
        series: Vec<Series>,
    ) -> Self {
        Self { file: file.into(), title: title.into(), unit, series, limit: None }
    }

    /// With a line where the goal ends.
    #[must_use]
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// As SVG.
    pub fn svg(&self) -> String {
        let axis = Axis::over(self);
        #[expect(clippy::cast_precision_loss, reason = "a few lanes")]
        let bottom = TOP + LANE * self.series.len() as f64;
        let height = bottom + 50.0;
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="Helvetica, Arial, DejaVu Sans, sans-serif">
<rect width="{WIDTH}" height="{height}" fill="white"/>
"#
        );
        text(&mut svg, 24.0, 36.0, 18, INK, "start", &self.title);
        for tick in axis.ticks() {
            let x = axis.x(tick);
            line(&mut svg, x, TOP, bottom, GRID, 1.0);
            // Adding zero turns a minus zero into a plain one.
            text(
                &mut svg,
                x,
                bottom + 18.0,
                12,
                MUTED,
                "middle",
                &format!("{}", (tick * 1e6).round() / 1e6 + 0.0),
            );
        }
        text(&mut svg, WIDTH - RIGHT, bottom + 38.0, 12, MUTED, "end", self.unit);
        if let Some(limit) = self.limit.filter(|limit| axis.shows(*limit)) {
            line(&mut svg, axis.x(limit), TOP - 8.0, bottom, BAD, 1.5);
            text(&mut svg, axis.x(limit), TOP - 12.0, 12, BAD, "middle", "goal");
        }
        for (number, series) in self.series.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "a few lanes")]
            let top = TOP + LANE * number as f64;
            lane(&mut svg, &axis, series, top, COLORS[number % COLORS.len()]);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn lane(svg: &mut String, axis: &Axis, series: &Series, top: f64, color: &str) {
    let samples = &series.samples;
    text(svg, LEFT - 14.0, top + 20.0, 14, INK, "end", &series.label);
    let note = if samples.samples().is_empty() {
        "no samples".to_owned()
    } else {
        format!("{} samples, median {:.4}", samples.samples().len(), samples.median())
    };
    text(svg, LEFT - 14.0, top + 36.0, 11, MUTED, "end", &note);
    for (number, sample) in samples.thinned(DOTS).into_iter().enumerate() {
        // Spread over the lane by a fixed pattern, so that equal samples do not hide each other.
        #[expect(clippy::cast_precision_loss, reason = "below the number of dots")]
        let y = top + 8.0 + (number as f64 * 0.618_034).fract() * (LANE - 16.0);
        let _ = writeln!(
            svg,
            r#"<circle cx="{:.1}" cy="{y:.1}" r="2.2" fill="{color}" fill-opacity="0.55"/>"#,
            axis.x(sample)
        );
    }
    if !samples.samples().is_empty() {
        line(svg, axis.x(samples.median()), top + 4.0, top + LANE - 4.0, INK, 2.5);
    }
}

/// From the smallest sample to what is shown of the largest.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    fn over(plot: &Plot) -> Self {
        let lanes =
            || plot.series.iter().map(|series| &series.samples).filter(|lane| !lane.samples().is_empty());
        let from = lanes().map(Sorted::min).fold(f64::INFINITY, f64::min);
        let to = lanes().map(|lane| lane.quantile(SHOWN)).fold(f64::NEG_INFINITY, f64::max);
        if !from.is_finite() || !to.is_finite() {
            return Self { from: 0.0, to: 1.0 };
        }
        // The goal belongs into the picture unless all samples are far from it.
        let to = plot.limit.filter(|limit| *limit > to && *limit < to + 3.0 * (to - from)).unwrap_or(to);
        let margin = ((to - from) * 0.04).max(to.abs() * 1e-3).max(1e-9);
        Self { from: from - margin, to: to + margin }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (value.clamp(self.from, self.to) - self.from) / (self.to - self.from) * (WIDTH - LEFT - RIGHT)
    }

    fn shows(&self, value: f64) -> bool {
        (self.from..=self.to).contains(&value)
    }

    /// Round values, about eight of them.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.to - self.from) / 8.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0]
            .map(|m| m * power)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(power * 10.0);
        let mut tick = (self.from / step).ceil() * step;
        let mut ticks = Vec::new();
        while tick <= self.to {
            ticks.push(tick);
            tick += step;
        }
        ticks
    }
}

fn text(svg: &mut String, x: f64, y: f64, size: u32, color: &str, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{color}" text-anchor="{anchor}">{words}</text>"#
    );
}

fn line(svg: &mut String, x: f64, top: f64, bottom: f64, color: &str, width: f64) {
    let _ = writeln!(
        svg,
        r#"<line x1="{x:.1}" y1="{top:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="{color}" stroke-width="{width}"/>"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_a_dot_and_text_is_escaped() {
        let series = vec![Series::new("a < b", [1.0, 2.0, 3.0]), Series::new("empty", [])];
        let svg = Plot::new("x.svg", "Title", "ms", series).limit(3.0).svg();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("a &lt; b") && svg.contains("no samples"), "{svg}");
        assert!(svg.contains(">goal<"), "{svg}");
    }

    #[test]
    fn an_outlier_does_not_flatten_the_rest() {
        let series = vec![Series::new("calls", (0..1000).map(|n| f64::from(n % 10)).chain([1e6]))];
        let axis = Axis::over(&Plot::new("x.svg", "", "us", series));
        assert!(axis.to < 20.0, "{}", axis.to);
    }

    #[test]
    fn equal_samples_have_an_axis_nevertheless() {
        let axis = Axis::over(&Plot::new("x.svg", "", "us", vec![Series::new("same", [5.0, 5.0])]));
        assert!(axis.from < 5.0 && axis.to > 5.0);
        assert!(!axis.ticks().is_empty());
    }
}
