//! What an adapter tells the core about its driver.

mod error;
mod request;
mod settings;

use std::error::Error as StdError;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

pub use self::error::{Cause, DriverError};
pub use self::request::ConnectRequest;
pub(crate) use self::settings::PARAMETERS;
pub use self::settings::{NetworkSettings, SslMode, TlsSettings};
use crate::engine::Engine;
use crate::error::{DriverClass, Error};
use crate::host::Role;
use crate::registry::Slot;
use crate::table::Table;

/// One driver. Always a type parameter: no boxes, no macro.
///
/// The value holds what the driver needs besides the host: its own configuration and TLS.
pub trait DriverDialect: Debug + Send + Sync + 'static {
    /// Which servers it talks to.
    const ENGINE: Engine;

    /// A physical connection. Dropping it closes it.
    type Connection: Debug + Send + Sync + 'static;
    /// The driver's error.
    type Error: StdError + Send + Sync + 'static;
    /// What a logical connection carries from one physical connection to the next, such as channels listened to.
    type Session: Debug + Default + Send + Sync + 'static;

    /// Opens a physical connection: dial, TLS, authentication. The caller sets the deadline.
    ///
    /// Stores [`ConnectRequest::slot`] in the connection and tells it how to abort.
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Runs one statement of the wrapper's own and returns its rows as text. No prepared statement is made.
    fn fetch_text(
        &self,
        connection: &mut Self::Connection,
        sql: &str,
    ) -> impl Future<Output = Result<Table, Self::Error>> + Send;

    /// Asks the server for a sign of life, without any text. The caller sets the deadline.
    fn ping(&self, connection: &mut Self::Connection)
    -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Prepares a new connection to take the place of another: whatever `session` asks for is applied.
    fn configure(
        &self,
        connection: &mut Self::Connection,
        session: &Self::Session,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// What an error means.
    fn classify(&self, error: &Self::Error) -> DriverClass;

    /// The server's SQLSTATE, if it sent the error.
    fn sqlstate<'e>(&self, error: &'e Self::Error) -> Option<&'e str>;

    /// The slot of a connection.
    fn slot<'c>(&self, connection: &'c Self::Connection) -> &'c Arc<Slot>;

    /// The role the server reported while connecting, if it did: saves the role query.
    fn startup_role(&self, connection: &Self::Connection) -> Option<Role>;

    /// The wrapper's error for a driver's error: class, SQLSTATE and source.
    fn error(&self, error: Self::Error) -> Error {
        let class = self.classify(&error);
        let sqlstate = self.sqlstate(&error).map(str::to_owned);
        let wrapped = Error::driver(class, error);
        match sqlstate {
            Some(code) => wrapped.with_sqlstate(&code),
            None => wrapped,
        }
    }
}
