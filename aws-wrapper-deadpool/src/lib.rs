//! Connection pools for Amazon Aurora and RDS that follow the writer and spread over the readers.
//!
//! The pools are [deadpool]'s, one for the writer and one for each reader, behind one [`Pool`]: [`get`](Pool::get),
//! [`writer`](Pool::writer), [`reader`](Pool::reader). The connections are those of
//! [aws-wrapper-pg](https://docs.rs/aws-wrapper-pg) (feature `pg`) and
//! [aws-wrapper-mysql](https://docs.rs/aws-wrapper-mysql) (feature `mysql`). No feature is on by default: a pool is for
//! one driver, and the other one would be compiled for nothing.
//!
#![cfg_attr(feature = "pg", doc = "```no_run")]
#![cfg_attr(not(feature = "pg"), doc = "```text")]
//! use aws_wrapper_deadpool::pg::Pool;
//! use aws_wrapper_pg::Connector;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let url = "postgresql://app:secret@my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com/app?pool_max_size=16";
//!     let pool = Pool::builder(Connector::builder().url(url)?.build()?).build()?;
//!     let writer = pool.writer().await?;
//!     writer.execute("insert into visits default values", &[]).await?;
//!     let reader = pool.reader().await?;
//!     let row = reader.query_one("select count(*) from visits", &[]).await?;
//!     println!("{} visits", row.get::<_, i64>(0));
//!     Ok(())
//! }
//! ```
//!
//! # When the writer changes
//!
//! - Idle connections to the host that was the writer are dropped at once. Nobody ever gets one, with nothing to configure:
//!   no lifetime, no query before each use.
//! - A connection in use fails with one error, by its own call, and goes on at the new writer. It returns to the pool and
//!   is used again. All connections share one search for the new writer.
//! - New connections are opened to the new writer by its own name, at most `pool_max_opening_per_host` at once, and after
//!   a failure with a pause of random length.
//!
//! # What goes back to the pool
//!
//! A connection is used again if it is alive, leads to the host it is there for, and none of its calls was dropped before
//! the answer. What its user left on it is taken away first, by a task, when it is given back: neither the one who gives it
//! back nor the one who gets it next waits for that, unless it is the only connection left. Until then it counts as in use.
//!
//! - A transaction that is open, or may be, is rolled back, and what is left of a result is read, whatever `pool_reset` says.
//! - With `pool_reset=auto`, the default, the session is reset if anything but plain statements ran on it. `SET`, `CALL`,
//!   `DO`, `LISTEN`, temporary tables, a function that is not known to be harmless, or what the driver did on a connection
//!   that it was lent: all that counts. With `always` it is reset each time; with `never` settings, locks and temporary
//!   tables of the session stay. PostgreSQL does what `DISCARD ALL` would, but keeps prepared statements; MySQL resets the
//!   connection and brings back database, roles and characters of the login.
//! - Hooks of a new connection run again after a reset, and on a connection that took the place of a lost one: what they set
//!   is part of a clean session.
//!
//! So with `auto` and `always` an idle connection holds no locks, and no user meets the settings of another. A user that
//! was changed, or a database or role of MySQL's that was chosen by a statement, costs the connection, and so does what
//! cannot be taken away within `pool_recycle_timeout_ms` (1 s) or outside of a runtime. [`Status`] counts what was cleaned
//! and, by [`Discard`]'s words, what was not used again.
//!
//! A connection on which only plain statements ran goes back at once, and no question is asked when it is given out either.
//! Only one that was not used for `pool_idle_check_after_ms` (30 s; 500 ms with MySQL), or whose host was in doubt meanwhile,
//! is asked for a sign of life, for at most `pool_recycle_timeout_ms`.
//!
//! # Limits
//!
//! Every wait has one: 30 s for a free connection, `connect_timeout_ms` for opening one, 1 s for a check. `pool_max_size`
//! counts connections to one host: to the writer, and as many to each reader. The parameters stand in
//! `docs/parameters.md`; in a URL, or set on the [`Builder`].
//!
//! # Errors
//!
//! An [`Error`] of a checkout has the last error of connecting as its source: a pool whose server is down or whose password
//! is wrong says so, and not only that nothing became free. [`Error::retry_advice`] says whether it is worth to check out
//! again; nothing of the application's was sent in any case.
//!
//! # Health
//!
//! [`Pool::health`] is up, degraded or down, and [`Pool::status`] has the figures. Both look at what is known and do no
//! I/O; `examples/axum_service.rs` is a service with such an endpoint.
//!
//! # Tasks
//!
//! One for each pool of a cluster, which waits for news of the topology; it starts with the first checkout and ends with the
//! pool. One for each connection that is being cleaned, for as long as that takes. They belong to the connector's services.
//! Dropping a pool or a connection needs no runtime.

pub mod adapter;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "pg")]
pub mod pg;

mod backoff;
mod builder;
mod clean;
mod error;
mod failure;
mod health;
mod hooks;
mod manager;
mod meter;
mod object;
mod pool;
mod pooled;
mod readers;
mod recycle;
mod rules;
mod run;
mod status;
mod sub_pool;
mod target;
mod watch;

pub use aws_wrapper_core as core;
pub use aws_wrapper_core::pooling::{PoolReset, ReaderFallback};
pub use deadpool;

pub use self::builder::Builder;
pub use self::error::{Error, ErrorKind};
pub use self::health::Health;
pub use self::manager::Manager;
pub use self::object::Object;
pub use self::pool::Pool;
pub use self::pooled::Pooled;
pub use self::recycle::Discard;
pub use self::status::{Status, SubPoolStatus};
pub use self::sub_pool::SubPool;
pub use self::target::Target;
