//! What a pool has to know about an adapter.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::driver::DriverDialect;
use aws_wrapper_core::host::{HostKey, Role};
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::{Error as CoreError, Result};

/// An adapter whose connections are pooled. The pool is written once; the modules `pg` and `mysql` implement this.
pub trait Adapter: Debug + Send + Sync + Sized + 'static {
    /// The driver.
    type Driver: DriverDialect;
    /// The adapter's connector.
    type Connector: Clone + Debug + Send + Sync + 'static;
    /// A connection as the application uses it, which may change its host.
    type Client: Debug + Send + 'static;
    /// What calls on it fail with.
    type Error: Send + 'static;

    /// Whether the end of a connection is noticed while nobody uses it.
    const NOTICES_ITS_END: bool;

    /// For how long a connection may lie idle before it is asked for a sign of life, if nothing else is said.
    const IDLE_CHECK_AFTER: Duration;

    /// Whether a connection is of no use when the runtime that opened it has ended, without anybody noticing.
    const BOUND_TO_RUNTIME: bool;

    /// The error of a call as the wrapper's, which answers questions.
    fn into_core(error: Self::Error) -> CoreError;

    /// The connector of the core.
    fn core(connector: &Self::Connector) -> &Connector<Self::Driver>;

    /// Opens a connection, wherever the connector leads to.
    fn connect(connector: &Self::Connector) -> impl Future<Output = Result<Self::Client>> + Send;

    /// Opens a connection to one host of the cluster, which must have that role.
    fn connect_to_host(
        connector: &Self::Connector,
        host: &HostKey,
        role: Role,
    ) -> impl Future<Output = Result<Self::Client>> + Send;

    /// The physical connection the next call goes out on.
    fn slot(client: &Self::Client) -> Arc<Slot>;

    /// Whether the slot does not tell how the last user left the connection, because not all was read that the server said.
    /// Forgets what that user had put aside for the next call. Does no I/O.
    fn is_left_open(client: &mut Self::Client) -> bool;

    /// Reads what is left of results and ends the transaction that is open or may be. If that is impossible it fails, or
    /// the slot still says that one is open. The caller sets the deadline.
    fn clear_up(client: &mut Self::Client) -> impl Future<Output = Result<()>> + Send;

    /// Makes the session what it was when the connection was opened; `false` if this server cannot do that. No transaction
    /// is open. The caller sets the deadline.
    fn reset(client: &mut Self::Client) -> impl Future<Output = Result<bool>> + Send;

    /// Asks the server for a sign of life. The caller sets the deadline.
    fn ping(client: &mut Self::Client) -> impl Future<Output = Result<()>> + Send;
}
