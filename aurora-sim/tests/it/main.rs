//! Real servers, started and broken. Each test has a cluster of its own, so they run side by side.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod cleanup;
mod client;
mod failover;
mod faults;
mod mysql;
mod postgres;
mod program;
mod start;
mod switchover;
