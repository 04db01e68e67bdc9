//! The benchmarks: both sides in one run, in alternating blocks, reported as ratios.

pub mod call;
pub mod loopback;
pub mod memory;
pub mod report;

/// The middle value.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
