//! What a scenario asks of a driver's adapter, so that one text serves all of them.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use aurora_sim::Engine;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::services::Services;
use aws_wrapper_core::{Error, Result};

/// Where to connect and how.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "made by tests field by field")]
pub struct Target<'a> {
    /// A host name of a cluster, or an address.
    pub host: &'a str,
    /// The port of all hosts.
    pub port: u16,
    /// What is shared, the resolver included.
    pub services: Services,
    /// Parameters of the wrapper or the driver; they win over user `app`, password `secret`, database `app`.
    pub params: &'a [(&'a str, &'a str)],
}

/// What calls of an adapter fail with.
pub type CallError<A> = <<A as Adapter>::Pooled as aws_wrapper_deadpool::adapter::Adapter>::Error;

/// One adapter.
pub trait Adapter {
    /// Opens sessions; cheap to clone.
    type Connector: Clone + Debug + Send + Sync + 'static;
    /// A logical connection.
    type Session: Session;
    /// What pools know about it.
    type Pooled: aws_wrapper_deadpool::adapter::Adapter<Connector = Self::Connector, Client = Self::Session>;
    /// The driver's own connection.
    type Bare: Bare;
    /// The servers it talks to.
    const ENGINE: Engine;
    /// Tasks the wrapper runs for each connection.
    const TASKS_PER_SESSION: usize;
    /// Parameters of the administrator.
    const ADMIN: &'static [(&'static str, &'static str)];

    /// A connector to `target`.
    fn connector(target: &Target<'_>) -> Result<Self::Connector>;

    /// An error as calls of the adapter return it.
    fn call_error(error: Error) -> CallError<Self>;

    /// What the connector shares.
    fn services(connector: &Self::Connector) -> &Services;

    /// Opens a session.
    fn connect(connector: &Self::Connector) -> impl Future<Output = Result<Self::Session>> + Send;

    /// Opens a connection of the driver's own.
    fn connect_driver(connector: &Self::Connector) -> impl Future<Output = Result<Self::Bare>> + Send;
}

/// A connection of a driver, without the wrapper.
pub trait Bare: Debug + Send + 'static {
    /// Runs a statement and returns the first column of its first row as text, or the driver's error as text.
    fn ask(&mut self, sql: &str) -> impl Future<Output = Result<String, String>> + Send;
}

/// A logical connection.
pub trait Session: Debug + Send + 'static {
    /// Asks the instance for its name.
    const WHO: &'static str;
    /// Keeps a call in flight for a minute.
    const SLEEP: &'static str;
    /// Takes two seconds.
    const SLEEP_TWO: &'static str;
    /// Is refused by the server, whatever the state of the session.
    const FAILS: &'static str;
    /// Whether several calls can be under way at once, so that an answer does not end all that was sent.
    const PIPELINES: bool;
    /// Whether the loss of a connection that nobody uses is noticed by itself, and not by the next call.
    const NOTICES_IDLE_LOSS: bool;

    /// Runs a statement and returns how many rows it changed.
    fn run(&mut self, sql: &str) -> impl Future<Output = Result<u64>> + Send;

    /// Runs a statement and returns the first column of its first row as text.
    fn ask(&mut self, sql: &str) -> impl Future<Output = Result<String>> + Send;

    /// The physical connection in use.
    fn slot(&self) -> Arc<Slot>;

    /// The name of the instance that answers.
    fn who(&mut self) -> impl Future<Output = Result<String>> + Send {
        self.ask(Self::WHO)
    }
}
