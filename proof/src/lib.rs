//! What the programs of this package share.

pub mod bench;
pub mod chaos;
pub mod demo;
pub mod driver;
pub mod names;

/// The middle value, or the mean of the two in the middle. Leaves the values sorted.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (0, 0) => f64::NAN,
        (half, 0) => f64::midpoint(values[half - 1], values[half]),
        (half, _) => values[half],
    }
}
