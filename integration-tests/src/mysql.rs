//! The adapter of `mysql_async`.

use std::sync::Arc;

use aurora_sim::Engine;
use aws_wrapper_core::Result;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::services::Services;
use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::mysql_async::{Row, from_value};
use aws_wrapper_mysql::{Builder, Conn, Connector, Error, mysql_async};

use crate::adapter::{Adapter, Bare, Session, Target};

/// `mysql_async`.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a name for a set of functions")]
pub struct MySql;

impl MySql {
    /// A builder for a connector to `target`.
    ///
    /// # Errors
    /// Those of the builder.
    pub fn builder(target: &Target<'_>) -> Result<Builder> {
        let builder =
            Connector::builder().host(target.host).port(target.port).services(target.services.clone());
        let defaults = [("user", "app"), ("password", "secret"), ("database", "app")];
        let mut params = defaults.iter().chain(target.params);
        Ok(params.try_fold(builder, |builder, (name, value)| builder.set(name, value))?)
    }
}

impl Adapter for MySql {
    type Connector = Connector;
    type Session = Conn;
    type Bare = mysql_async::Conn;
    type Pooled = aws_wrapper_deadpool::mysql::MySql;
    const ENGINE: Engine = Engine::MySql;
    const ADMIN: &'static [(&'static str, &'static str)] =
        &[("user", "root"), ("password", ""), ("plugins", "none")];
    /// The driver's connection is driven by whoever calls.
    const TASKS_PER_SESSION: usize = 0;

    fn connector(target: &Target<'_>) -> Result<Connector> {
        Ok(Self::builder(target)?.build()?)
    }

    fn call_error(error: aws_wrapper_core::Error) -> mysql_async::Error {
        Error::from(error).into()
    }

    fn services(connector: &Connector) -> &Services {
        connector.services()
    }

    async fn connect(connector: &Connector) -> Result<Conn> {
        Ok(connector.connect().await?)
    }

    async fn connect_driver(connector: &Connector) -> Result<mysql_async::Conn> {
        Ok(connector.connect_driver().await?)
    }
}

impl Bare for mysql_async::Conn {
    async fn ask(&mut self, sql: &str) -> Result<String, String> {
        let row: Option<Row> = Queryable::query_first(self, sql).await.map_err(|error| error.to_string())?;
        Ok(first_cell(row))
    }
}

impl Session for Conn {
    const WHO: &'static str = "SELECT @@aurora_server_id";
    /// The first sleep is not told that it was interrupted, the second is.
    const SLEEP: &'static str = "SELECT SLEEP(30) FROM (SELECT 1 UNION ALL SELECT 2) AS two";
    const SLEEP_TWO: &'static str = "SELECT SLEEP(2)";
    const FAILS: &'static str = "SELECT * FROM no_such_table";
    const PIPELINES: bool = false;
    /// The driver looks at its socket only during a call.
    const NOTICES_IDLE_LOSS: bool = false;

    async fn run(&mut self, sql: &str) -> Result<u64> {
        self.query_drop(sql).await.map_err(Error::from)?;
        Ok(self.affected_rows())
    }

    async fn ask(&mut self, sql: &str) -> Result<String> {
        let row: Option<Row> = self.query_first(sql).await.map_err(Error::from)?;
        Ok(first_cell(row))
    }

    fn slot(&self) -> Arc<Slot> {
        Self::slot(self)
    }
}

fn first_cell(row: Option<Row>) -> String {
    let value = row.and_then(|mut row| row.take(0)).map(from_value::<Option<String>>);
    value.flatten().unwrap_or_default()
}
