//! tokio-postgres.

use std::net::SocketAddr;

use aurora_sim::Engine;
use aws_wrapper_core::services::Services;
use aws_wrapper_pg::{Client, Connector, Statement};
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

use super::{AnyError, DATABASE, Driver, PASSWORD, RowId, Session, SharedSession, USER};

/// tokio-postgres and aws-wrapper-pg.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a name for a set of functions")]
pub struct Pg;

impl Driver for Pg {
    const ENGINE: Engine = Engine::Postgres;
    const SERVER: &'static str = "PostgreSQL";
    const BARE: &'static str = "tokio-postgres";
    const WRAPPED: &'static str = "aws-wrapper-pg";
    const TWO_PARAMETERS: &'static str = "$1, $2";
    const SLEEP: &'static str = "select pg_sleep(60)";
    const PAUSE: &'static str = "select pg_sleep(0.005)";
    const CONNECTIONS: &'static str = "select count(*) from pg_stat_activity where usename = current_user";
    const VERSION: &'static str = "select current_setting('server_version')";

    type Connector = Connector;
    type Wrapped = Client;
    type Adapter = aws_wrapper_deadpool::pg::Pg;
    type Generic = Client;
    type Bare = Bare;

    fn connector_with(
        host: &str,
        port: u16,
        services: Services,
        parameters: &[(&str, &str)],
    ) -> Result<Connector, AnyError> {
        let url = format!("postgresql://{USER}:{PASSWORD}@{host}:{port}/{DATABASE}?sslmode=disable");
        let mut builder = Connector::builder().url(&url)?.services(services);
        for (name, value) in parameters {
            builder = builder.set(name, value)?;
        }
        Ok(builder.build()?)
    }

    fn services(connector: &Connector) -> &Services {
        connector.services()
    }

    async fn wrapped(connector: &Connector) -> Result<Client, AnyError> {
        Ok(connector.connect().await?)
    }

    fn generic(_wrapped: Client) -> Option<Client> {
        None
    }

    async fn bare(host: &str, address: SocketAddr) -> Result<Bare, AnyError> {
        let mut config = tokio_postgres::Config::new();
        config.host(host).hostaddr(address.ip()).port(address.port());
        config.user(USER).password(PASSWORD).dbname(DATABASE);
        let (client, connection) = config.connect(NoTls).await?;
        #[expect(clippy::disallowed_methods, reason = "owned and aborted by `Bare`")]
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Bare { client, driver })
    }

    async fn number(bare: &mut Bare, sql: &str) -> Result<i64, AnyError> {
        Ok(bare.client.query_one(sql, &[]).await?.get(0))
    }

    async fn words(bare: &mut Bare, sql: &str) -> Result<String, AnyError> {
        Ok(bare.client.query_one(sql, &[]).await?.get(0))
    }

    async fn rows(bare: &mut Bare, sql: &str) -> Result<Vec<RowId>, AnyError> {
        let rows = bare.client.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}

/// The driver's client and the task it needs.
#[derive(Debug)]
pub struct Bare {
    client: tokio_postgres::Client,
    driver: JoinHandle<()>,
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The methods of both sides have the same names; `$client` is where they are, not the methods below.
macro_rules! session {
    ($type:ty, $statement:ty, |$this:ident| $client:expr) => {
        impl Session for $type {
            type Statement = $statement;

            async fn run(&mut self, sql: &str) -> Result<(), AnyError> {
                let $this = self;
                Ok($client.batch_execute(sql).await?)
            }

            async fn prepare(&mut self, sql: &str) -> Result<$statement, AnyError> {
                let $this = self;
                Ok($client.prepare(sql).await?)
            }

            async fn insert(&mut self, statement: &$statement, row: RowId) -> Result<(), AnyError> {
                let $this = self;
                $client.execute(statement, &[&row.0, &row.1]).await?;
                Ok(())
            }

            async fn ask(&mut self, sql: &str) -> Result<(), AnyError> {
                let $this = self;
                $client.simple_query(sql).await?;
                Ok(())
            }

            async fn ask_prepared(&mut self, statement: &$statement) -> Result<(), AnyError> {
                let $this = self;
                $client.query_one(statement, &[]).await?;
                Ok(())
            }
        }
    };
}

session!(Client, Statement, |this| (&*this));
session!(Bare, tokio_postgres::Statement, |this| this.client);

impl SharedSession for Client {
    async fn ask_shared(&self, statement: &Statement) -> Result<(), AnyError> {
        self.query_one(statement, &[]).await?;
        Ok(())
    }
}

impl SharedSession for Bare {
    async fn ask_shared(&self, statement: &tokio_postgres::Statement) -> Result<(), AnyError> {
        self.client.query_one(statement, &[]).await?;
        Ok(())
    }
}
