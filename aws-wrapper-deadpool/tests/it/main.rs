//! Pools over a cluster by script, with a paused clock.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cancellation;
mod checkout;
mod clean;
mod hooks;
mod limits;
mod telemetry;
mod topology;
mod world;
