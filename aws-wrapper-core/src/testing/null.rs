//! A driver that talks to nobody: for measuring what the pipeline costs.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::driver::{ConnectRequest, DriverDialect};
use crate::engine::Engine;
use crate::error::{DriverClass, Result};
use crate::host::Role;
use crate::plugin::Ask;
use crate::registry::Slot;
use crate::table::Table;

/// Connects to nothing and answers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullDriver;

/// A connection to nothing.
#[derive(Debug)]
pub struct NullConnection {
    slot: Arc<Slot>,
}

impl NullConnection {
    /// Its slot.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

impl DriverDialect for NullDriver {
    const ENGINE: Engine = Engine::Postgres;
    type Connection = NullConnection;
    type Error = Infallible;
    type Session = ();

    async fn connect(&self, request: &ConnectRequest) -> Result<NullConnection, Infallible> {
        Ok(NullConnection { slot: Arc::clone(request.slot()) })
    }

    async fn fetch_text(&self, _connection: &mut NullConnection, _sql: &str) -> Result<Table, Infallible> {
        Ok(Table::default())
    }

    async fn ping(&self, _connection: &mut NullConnection) -> Result<(), Infallible> {
        Ok(())
    }

    async fn configure(&self, _connection: &mut NullConnection, _session: &()) -> Result<(), Infallible> {
        Ok(())
    }

    fn classify(&self, error: &Infallible) -> DriverClass {
        match *error {}
    }

    fn sqlstate<'e>(&self, error: &'e Infallible) -> Option<&'e str> {
        match *error {}
    }

    fn slot<'c>(&self, connection: &'c NullConnection) -> &'c Arc<Slot> {
        &connection.slot
    }

    fn startup_role(&self, _connection: &NullConnection) -> Option<Role> {
        Some(Role::Writer)
    }
}

impl Ask for NullDriver {
    fn fetch_text<'a>(&'a self, _sql: &'a str) -> BoxFuture<'a, Result<Table>> {
        Box::pin(async { Ok(Table::default()) })
    }
}
