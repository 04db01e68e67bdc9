//! The adapter of tokio-postgres.

use std::sync::Arc;

use aurora_sim::Engine;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::services::Services;
use aws_wrapper_core::{Error as CoreError, Result};
use aws_wrapper_pg::tokio_postgres::{self, SimpleQueryMessage};
use aws_wrapper_pg::{Builder, Client, Connector, Error};

use crate::adapter::{Adapter, Bare, Session, Target};

/// tokio-postgres.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a name for a set of functions")]
pub struct Pg;

impl Pg {
    /// A builder for a connector to `target`.
    ///
    /// # Errors
    /// Those of the builder.
    pub fn builder(target: &Target<'_>) -> Result<Builder> {
        let mut builder =
            Connector::builder().host(target.host).port(target.port).services(target.services.clone());
        let defaults = [("user", "app"), ("password", "secret"), ("dbname", "app")];
        for (name, value) in defaults.iter().chain(target.params) {
            builder = builder.set(name, value)?;
        }
        Ok(builder)
    }
}

impl Adapter for Pg {
    type Connector = Connector;
    type Session = Client;
    type Bare = tokio_postgres::Client;
    type Pooled = aws_wrapper_deadpool::pg::Pg;
    const ENGINE: Engine = Engine::Postgres;
    const TASKS_PER_SESSION: usize = 1;
    const ADMIN: &'static [(&'static str, &'static str)] = &[("user", "postgres"), ("plugins", "none")];

    fn connector(target: &Target<'_>) -> Result<Connector> {
        Ok(Self::builder(target)?.build()?)
    }

    fn call_error(error: CoreError) -> Error {
        error.into()
    }

    fn services(connector: &Connector) -> &Services {
        connector.services()
    }

    async fn connect(connector: &Connector) -> Result<Client> {
        Ok(connector.connect().await?)
    }

    async fn connect_driver(connector: &Connector) -> Result<tokio_postgres::Client> {
        Ok(connector.connect_driver().await?)
    }
}

impl Bare for tokio_postgres::Client {
    async fn ask(&mut self, sql: &str) -> Result<String, String> {
        Ok(first_cell(&self.simple_query(sql).await.map_err(|error| error.to_string())?))
    }
}

impl Session for Client {
    const WHO: &'static str = "SELECT pg_catalog.aurora_db_instance_identifier()";
    const SLEEP: &'static str = "SELECT pg_catalog.pg_sleep(60)";
    const SLEEP_TWO: &'static str = "SELECT pg_catalog.pg_sleep(2)";
    const FAILS: &'static str = "SELECT 1/0";
    const PIPELINES: bool = true;
    const NOTICES_IDLE_LOSS: bool = true;

    async fn run(&mut self, sql: &str) -> Result<u64> {
        Ok(self.execute(sql, &[]).await?)
    }

    async fn ask(&mut self, sql: &str) -> Result<String> {
        Ok(first_cell(&self.simple_query(sql).await?))
    }

    fn slot(&self) -> Arc<Slot> {
        Self::slot(self)
    }
}

fn first_cell(messages: &[SimpleQueryMessage]) -> String {
    let first = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    first.unwrap_or_default()
}
