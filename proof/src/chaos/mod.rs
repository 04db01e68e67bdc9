//! Chaos: an application on a pool, a cluster on which everything goes wrong, and what must hold nevertheless.
//!
//! A [`Schedule`] is made from a seed alone. [`Stand::run`] plays it against a cluster of `aurora-sim` while
//! the workload runs, puts everything right, waits until all workers work again, ends the pool, and gives what was seen
//! to [`check`](check::check).

pub mod check;
pub mod history;
pub mod report;
mod resources;
pub mod run;
pub mod schedule;
pub mod target;

mod inject;
mod journal;
mod settings;
mod workload;

pub use self::check::{Rule, Violation, check};
pub use self::report::Report;
pub use self::run::{Outcome, Stand};
pub use self::schedule::{Fault, Schedule};
