//! mysql_async with failover and cluster awareness for Amazon Aurora and RDS.

pub mod conn;
pub mod connector;
pub mod result;
pub mod statement;
pub mod transaction;

mod classify;
mod connect;
mod driver;
mod error;
mod lane;
mod methods;
mod physical;
mod queryable;
mod status;
mod tls;

pub use aws_wrapper_core as core;
pub use mysql_async;

pub use self::conn::Conn;
pub use self::connector::{Builder, Connector};
pub use self::driver::{MysqlDriver, Session};
pub use self::error::{DriverError, Error, Result, mysql_error, wrapper_error};
pub use self::physical::Physical;
pub use self::result::{QueryResult, RowStream};
pub use self::statement::{Statement, ToStatement};
pub use self::transaction::Transaction;
