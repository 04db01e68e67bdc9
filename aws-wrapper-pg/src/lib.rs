//! tokio-postgres with failover and cluster awareness for Amazon Aurora and RDS.

pub mod cancel;
pub mod client;
pub mod connector;
pub mod copy;
pub mod notifications;
pub mod row_stream;
pub mod statement;
pub mod transaction;

mod classify;
mod connect;
mod driver;
mod error;
mod lent;
mod physical;
mod status;
mod tls;

pub use aws_wrapper_core as core;
pub use aws_wrapper_core::{Error, ErrorKind, Result};
pub use tokio_postgres;

pub use self::cancel::CancelToken;
pub use self::client::Client;
pub use self::connector::{Builder, Connector};
pub use self::copy::{CopyInSink, CopyOutStream};
pub use self::driver::PgDriver;
pub use self::error::{DriverError, pg_error};
pub use self::notifications::{NotificationItem, Notifications};
pub use self::physical::Physical;
pub use self::row_stream::{RowStream, SimpleQueryStream};
pub use self::statement::{Statement, ToStatement};
pub use self::transaction::{Transaction, TransactionBuilder};
