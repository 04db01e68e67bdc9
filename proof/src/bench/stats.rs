//! What is computed from samples.

/// Samples in ascending order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// Sorts samples; those that are no numbers are left out.
    pub fn new(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().filter(|sample| !sample.is_nan()).collect();
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// All of them.
    pub fn samples(&self) -> &[f64] {
        &self.0
    }

    /// The value below which the fraction `q` of the samples is, between neighbours by proportion. No number if there
    /// are no samples.
    pub fn quantile(&self, q: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else { return f64::NAN };
        #[expect(clippy::cast_precision_loss, reason = "far below the limit")]
        let place = q.clamp(0.0, 1.0) * last as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between zero and `last`"
        )]
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        self.0[below] + (self.0[above] - self.0[below]) * place.fract()
    }

    /// The middle.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// From the smallest to the largest.
    pub fn spread(&self) -> f64 {
        self.max() - self.min()
    }

    /// At most `most` of them, evenly spread over the ranks, smallest and largest among them.
    pub fn thinned(&self, most: usize) -> Vec<f64> {
        if self.0.len() <= most || most < 2 {
            return self.0.clone();
        }
        (0..most).map(|place| self.0[place * (self.0.len() - 1) / (most - 1)]).collect()
    }
}

/// The median of the ratios of neighbours: what else the machine does at a moment hits both alike.
pub fn paired_ratio(wrapped: &[f64], bare: &[f64]) -> f64 {
    Sorted::new(wrapped.iter().zip(bare).map(|(wrapped, bare)| wrapped / bare)).median()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 1e-9
    }

    #[test]
    fn quantiles_lie_between_neighbours_by_proportion() {
        let sorted = Sorted::new([4.0, 1.0, 3.0, 2.0]);
        assert!(is(sorted.median(), 2.5));
        assert!(is(sorted.quantile(0.99), 3.97));
        assert!(is(sorted.min(), 1.0) && is(sorted.max(), 4.0) && is(sorted.spread(), 3.0));
    }

    #[test]
    fn without_samples_there_is_no_figure() {
        assert!(Sorted::new([]).median().is_nan());
        assert!(Sorted::new([f64::NAN]).max().is_nan());
        assert!(paired_ratio(&[], &[]).is_nan());
    }

    #[test]
    fn a_ratio_is_taken_between_neighbours() {
        // The second pair ran while the machine was slow; of the medians alone one would learn less.
        assert!(is(paired_ratio(&[11.0, 110.0, 12.0], &[10.0, 100.0, 10.0]), 1.1));
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let sorted = Sorted::new((0..1000).map(f64::from));
        let few = sorted.thinned(11);
        assert_eq!(few.len(), 11);
        assert!(is(few[0], 0.0) && is(few[10], 999.0));
        assert_eq!(Sorted::new([1.0, 2.0]).thinned(11), [1.0, 2.0]);
    }
}
