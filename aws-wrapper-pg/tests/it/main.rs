//! The adapter against a plain PostgreSQL server of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

mod calls;
mod ending;
mod errors;
mod notifications;
mod refusal;
mod server;
mod switching;
mod tls;
mod transactions;
