//! What the behaviour suite needs: clusters of real servers, connectors to them, and ways to wait, to drop and to listen.
//!
//! A test is a function of [`on_cluster`] or [`on_plain`]: it gets 60 s, and after it no task and no socket may be left.
//! Scenarios that hold for every driver are written against [`Adapter`] and stand in `tests/it/any`.

mod adapter;
mod capture;
mod check;
mod cluster;
mod mysql;
mod names;
mod pg;
mod poll;
mod run;
mod server;

pub use crate::adapter::{Adapter, Bare, CallError, Session, Target};
pub use crate::check::{Expected, failovers, host_down, switched};
pub use crate::cluster::{TestCluster, noticed};
pub use crate::mysql::MySql;
pub use crate::names::ClusterNames;
pub use crate::pg::Pg;
pub use crate::poll::{Polled, drop_after};
pub use crate::run::{
    SOON, eventually, no_task_left, on_built, on_cluster, on_clusters, on_logged_cluster, on_plain, spawn,
};
pub use crate::server::{Behaviour, FakeServer};

/// The programs of the repository's front page and of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/guide/drivers.md")]
#[doc = include_str!("../../docs/guide/errors.md")]
#[doc = include_str!("../../docs/guide/silent-hosts.md")]
#[doc = include_str!("../../docs/guide/telemetry.md")]
pub struct Guide;
