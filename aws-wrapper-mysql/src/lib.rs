//! mysql_async with failover and cluster awareness for Amazon Aurora and RDS.
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() -> aws_wrapper_mysql::Result<()> {
//! let connector = aws_wrapper_mysql::Connector::builder()
//!     .url("mysql://app:secret@my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com/app")?
//!     .set("ssl_root_cert", "/etc/ssl/rds-global-bundle.pem")?
//!     .build()?;
//! let mut conn = connector.connect().await?;
//! let ids: Vec<u64> = conn.exec("select id from t where k = ?", (7,)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Conn`] has the methods of [`mysql_async::Conn`], by the same names and with the same arguments, and implements the
//! driver's [`Queryable`](mysql_async::prelude::Queryable); rows and types are the driver's own. With a plain MySQL or
//! MariaDB server it works the same; failover then needs several hosts in the URL and `plugins=failover`.
//!
//! # Two errors
//!
//! The methods of a connection fail with the driver's own [`mysql_async::Error`]: what the server or the driver said comes
//! as the driver made it (`Err(Error::Server(e)) if e.code == 1062` goes on working), what the wrapper has to say travels
//! inside `Error::Other`, where [`wrapper_error`] finds it. [`Error`] answers questions about either kind, and `?` turns
//! each into the other.
//!
//! # When a connection is lost
//!
//! The call that was running fails with one error. It says what happened, and whether repeating is safe; the statement
//! is never repeated behind your back, because it may have run. The next call goes to the new host.
//!
//! ```no_run
//! # async fn run(conn: &mut aws_wrapper_mysql::Conn) -> aws_wrapper_mysql::Result<()> {
//! use aws_wrapper_mysql::Error;
//! use aws_wrapper_mysql::core::error::RetryAdvice;
//!
//! if let Err(error) = conn.query_drop("update t set n = n + 1").await.map_err(Error::from) {
//!     match error.retry_advice() {
//!         RetryAdvice::RetryStatement if !error.statement_may_have_run() => {} // safe to repeat at once
//!         RetryAdvice::RetryStatement => {}   // the connection works again; look whether it ran
//!         RetryAdvice::RetryTransaction => {} // the connection works again; begin the transaction anew
//!         RetryAdvice::CheckOutcome => {}     // the commit was on its way; look whether it happened
//!         _ => return Err(error),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What differs from the driver
//!
//! - Dropping the future of a call closes the connection and never leaves it in the middle of an answer; the next call
//!   says so once. See [`Conn`].
//! - [`Statement`] is logical: it is prepared again by itself on a new connection, and when the driver's cache or the server
//!   has dropped it. A statement of the driver's own, which its trait returns, is a number of one connection. On another it
//!   never runs something else: it fails with error 1243, or, where very many were prepared, with
//!   [`ConnectionSwitched`](core::error::ErrorKind::ConnectionSwitched); see [`Conn`].
//! - An error on a connection that lives is the server's answer to the statement, whatever its number: a procedure can raise
//!   any. After an error in a transaction, and after any that a procedure or several statements may have caused, the wrapper
//!   asks for the state before the next call: one round trip. A [`Transaction`] that the server has ended by itself, as after a
//!   deadlock, refuses further calls, where the driver would go on without a transaction; a `COMMIT` as text fails then.
//! - What is left of a result that was dropped is read before the next call, and an error in it is logged at debug: the driver
//!   gives it to the next call.
//! - A refused [`change_user`](Conn::change_user), and whatever says what became of a transaction, is the wrapper's error with the
//!   driver's below it.
//! - A transaction begins in one round trip, whatever its options.
//! - The driver looks at a connection only during a call: a loss between two calls is noticed by the second, which
//!   therefore may have run as far as anybody knows.
//! - `prefer_socket` is always off: the driver would reconnect to a path of the server on the client's machine.
//! - mysql_async sets neither a connect deadline nor `TCP_USER_TIMEOUT` and takes no socket of ours: the wrapper bounds
//!   connects and calls itself (`connect_timeout_ms`, `socket_timeout_ms`), and `tcp_user_timeout_ms` means nothing here.
//! - The driver takes the process's TLS provider: where none is installed when a connector with TLS is built, ring is.
//! - The driver's pool is not used: its connections know nothing of a cluster.

pub mod conn;
pub mod connector;
pub mod handle;
pub mod result;
pub mod statement;
pub mod transaction;

mod classify;
mod clean;
mod connect;
mod driver;
mod driver_pool;
mod error;
mod infile;
mod lane;
mod methods;
mod physical;
mod queryable;
mod retry;
mod settle;
mod status;
mod tls;
mod to_connection;

pub use aws_wrapper_core as core;
pub use mysql_async;

pub use self::conn::Conn;
pub use self::connector::{Builder, Connector};
pub use self::driver::{MysqlDriver, Session};
pub use self::error::{DriverError, Error, Result, mysql_error, wrapper_error};
pub use self::handle::ConnHandle;
pub use self::physical::Physical;
pub use self::result::{QueryResult, RowStream};
pub use self::statement::{Statement, ToStatement};
pub use self::transaction::Transaction;
