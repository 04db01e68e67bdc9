//! The behaviour suite: real clusters, real faults.
//!
//! What holds for every driver stands in `any` and is compiled once for each of them, with `Driver` naming it; what a
//! driver has of its own stands in the folder of that name.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::duplicate_mod, reason = "one text for every driver")]

mod mysql;
mod parker;
mod pg;
mod service;
mod system_names;
