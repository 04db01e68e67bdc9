//! Local clusters of real PostgreSQL and MySQL servers that answer, are named and fail like Amazon Aurora.
//!
//! ```no_run
//! # async fn example() -> aurora_sim::Result<()> {
//! use aurora_sim::{Cluster, FailoverOptions};
//!
//! let cluster = Cluster::builder().instances(3).start().await?;
//! let host = cluster.endpoint(); // my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com
//! let address = cluster.names().lookup(&host)[0]; // what a DNS query would answer now
//! // … connect to `address`, port `cluster.port()`, user `app`, password `secret`, database `app` …
//! let report = cluster.failover(FailoverOptions::default()).await?;
//! println!("writable again after {:?}", report.writable_at - report.killed_at);
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Every process and every file of a cluster is gone when its [`Cluster`] is dropped, and also when the process that
//! holds it panics, is interrupted or is killed.

mod cluster;
mod database;
mod engine;
mod error;
mod files;
mod flavor;
mod keeper;
mod mysql;
mod names;
mod postgres;
mod programs;
mod proxy;
mod tasks;
mod template;
mod tls;
mod topology;

pub use crate::cluster::{
    Cluster, ClusterBuilder, FailoverOptions, FailoverReport, InstanceStatus, Role, Status,
};
pub use crate::engine::Engine;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::flavor::Flavor;
pub use crate::mysql::{InstallMySql, install_mysql};
pub use crate::names::Names;
pub use crate::proxy::NetworkFault;
