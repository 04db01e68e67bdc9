//! The benchmarks: both sides in one run, in alternating blocks, reported as ratios.

pub mod call;
pub mod instructions;
pub mod loopback;
pub mod memory;
pub mod report;
