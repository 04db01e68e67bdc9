//! tokio-postgres with failover and cluster awareness for Amazon Aurora and RDS.
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() -> aws_wrapper_pg::Result<()> {
//! let connector = aws_wrapper_pg::Connector::builder()
//!     .url("postgresql://app:secret@my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com/app")?
//!     .set("ssl_root_cert", "/etc/ssl/rds-global-bundle.pem")?
//!     .build()?;
//! let client = connector.connect().await?;
//! let rows = client.query("select id from t where k = $1", &[&7]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] has the methods of [`tokio_postgres::Client`], by the same names and with the same arguments; rows and
//! types are the driver's own. With a plain PostgreSQL server it works the same; failover then needs several hosts in
//! the connection string and `plugins=failover`.
//!
//! # When a connection is lost
//!
//! The call that was running fails with one error. It says what happened, and whether repeating is safe; the statement
//! is never repeated behind your back, because it may have run. The next call goes to the new host.
//!
//! ```no_run
//! # async fn run(client: &aws_wrapper_pg::Client) -> aws_wrapper_pg::Result<()> {
//! use aws_wrapper_pg::core::error::RetryAdvice;
//!
//! if let Err(error) = client.execute("update t set n = n + 1", &[]).await {
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
//! Every call fails with an [`Error`]. It also has the driver's questions, [`code`](Error::code),
//! [`as_db_error`](Error::as_db_error) and [`is_closed`](Error::is_closed), and `?` turns an error of the driver into one.
//! [`pg_error`] finds the driver's own error in it.
//!
//! # What differs from the driver
//!
//! - There is no connection to spawn: the connector's [`Services`](core::services::Services) run it.
//! - [`Statement`] is logical: it is prepared again by itself on a new connection.
//! - [`CancelToken::cancel_query`] takes no TLS: it knows how its connection was made.
//! - Notifications are a stream of the client ([`Client::notifications`]), which goes on over a switch.
//! - TLS is built in, see [`Builder::ssl_mode`]. A password is not sent in the clear over a connection without TLS
//!   unless `sslmode` is set to `disable` or `prefer`.
//! - Errors are of the type [`Error`]. [`Error::is_closed`] is true for the call during which the connection was lost, too, and
//!   false after a successful failover.
//! - Functions generic over the driver's `GenericClient` take [`GenericClient`] instead: one `use` line.

pub mod cancel;
pub mod client;
pub mod connector;
pub mod copy;
pub mod generic_client;
pub mod handle;
pub mod notifications;
pub mod row_stream;
pub mod statement;
pub mod transaction;

mod classify;
mod clean;
mod connect;
mod current;
mod driver;
mod driver_call;
mod error;
mod lent;
mod owner;
mod params;
mod physical;
mod retry;
mod stale;
mod statements;
mod status;
mod tls;

pub use aws_wrapper_core as core;
pub use aws_wrapper_core::ErrorKind;
pub use tokio_postgres;

pub use self::cancel::CancelToken;
pub use self::client::Client;
pub use self::connector::{Builder, Connector};
pub use self::copy::{CopyInSink, CopyOutStream};
pub use self::driver::PgDriver;
pub use self::error::{DriverError, Error, Result, pg_error};
pub use self::generic_client::GenericClient;
pub use self::handle::ClientHandle;
pub use self::notifications::{NotificationItem, Notifications};
pub use self::physical::Physical;
pub use self::row_stream::{RowStream, SimpleQueryStream};
pub use self::statement::{Statement, ToStatement};
pub use self::transaction::{Transaction, TransactionBuilder};
