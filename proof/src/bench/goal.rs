//! What a figure is held against.

use std::fmt;

/// A goal, and how it is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "private to this program in all but name")]
pub enum Goal {
    /// The ratio of the wrapper to the bare driver is at most this.
    RatioAtMost(f64),
    /// That ratio is at least this.
    RatioAtLeast(f64),
    /// The wrapper adds at most this to the bare driver.
    AddsAtMost(f64),
    /// The wrapper's figure is at most this.
    AtMost(f64),
    /// The wrapper's figure is at least this.
    AtLeast(f64),
    /// The wrapper's figure is this.
    Exactly(f64),
}

impl Goal {
    /// Whether the figures meet the goal. Nobody knows when one that is needed is missing.
    pub fn is_met(self, bare: Option<f64>, wrapper: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        let wrapper = wrapper.filter(|figure| !figure.is_nan());
        let ratio = ratio.filter(|figure| !figure.is_nan());
        match self {
            Self::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
            Self::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
            Self::AddsAtMost(most) => Some(wrapper? - bare? <= most),
            Self::AtMost(most) => wrapper.map(|figure| figure <= most),
            Self::AtLeast(least) => wrapper.map(|figure| figure >= least),
            // Counts.
            Self::Exactly(wanted) => wrapper.map(|figure| (figure - wanted).abs() < 1e-9),
        }
    }

    /// In words, with the unit of the figure.
    pub fn words(self, unit: &str) -> String {
        match self {
            Self::RatioAtMost(_) | Self::RatioAtLeast(_) => self.to_string(),
            _ => format!("{self} {unit}"),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtMost(most) => write!(f, "ratio <= {most}"),
            Self::RatioAtLeast(least) => write!(f, "ratio >= {least}"),
            Self::AddsAtMost(most) => write!(f, "<= +{most}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::Exactly(wanted) => write!(f, "= {wanted}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_at_its_limit() {
        assert_eq!(Goal::RatioAtMost(1.03).is_met(None, None, Some(1.03)), Some(true));
        assert_eq!(Goal::RatioAtLeast(0.98).is_met(None, None, Some(0.97)), Some(false));
        assert_eq!(Goal::AddsAtMost(2.0).is_met(Some(12.0), Some(14.5), None), Some(false));
        assert_eq!(Goal::AtMost(15.0).is_met(None, Some(15.0), None), Some(true));
        assert_eq!(Goal::AtLeast(0.0).is_met(None, Some(-1.0), None), Some(false));
        assert_eq!(Goal::Exactly(1.0).is_met(None, Some(1.0), None), Some(true));
    }

    #[test]
    fn nobody_knows_without_the_figure() {
        assert_eq!(Goal::RatioAtMost(1.0).is_met(Some(1.0), Some(1.0), None), None);
        assert_eq!(Goal::AddsAtMost(1.0).is_met(None, Some(1.0), None), None);
        assert_eq!(Goal::AtMost(1.0).is_met(None, Some(f64::NAN), None), None);
    }

    #[test]
    fn a_ratio_has_no_unit() {
        assert_eq!(Goal::RatioAtMost(1.15).words("s"), "ratio <= 1.15");
        assert_eq!(Goal::AddsAtMost(2.0).words("kB"), "<= +2 kB");
    }
}
