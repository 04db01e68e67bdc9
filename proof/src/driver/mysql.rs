//! `mysql_async`.

use std::net::SocketAddr;

use aurora_sim::Engine;
use aws_wrapper_core::services::Services;
use aws_wrapper_mysql::{Conn, Connector, Statement};
use mysql_async::OptsBuilder;
use mysql_async::prelude::Queryable;

use super::{AnyError, DATABASE, Driver, PASSWORD, RowId, Session, USER};

/// `mysql_async` and aws-wrapper-mysql.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a name for a set of functions")]
pub struct MySql;

impl Driver for MySql {
    const ENGINE: Engine = Engine::MySql;
    const SERVER: &'static str = "MySQL";
    const BARE: &'static str = "mysql_async";
    const WRAPPED: &'static str = "aws-wrapper-mysql";
    const TWO_PARAMETERS: &'static str = "?, ?";
    const SLEEP: &'static str = "select sleep(60)";
    const PAUSE: &'static str = "select sleep(0.005)";
    const CONNECTIONS: &'static str =
        "select count(*) from information_schema.processlist where user = substring_index(user(), '@', 1)";
    const VERSION: &'static str = "select version()";

    type Connector = Connector;
    type Wrapped = Conn;
    type Adapter = aws_wrapper_deadpool::mysql::MySql;
    type Generic = Generic<Conn>;
    type Bare = Generic<mysql_async::Conn>;

    fn connector_with(
        host: &str,
        port: u16,
        services: Services,
        parameters: &[(&str, &str)],
    ) -> Result<Connector, AnyError> {
        let url = format!("mysql://{USER}:{PASSWORD}@{host}:{port}/{DATABASE}?sslmode=disable");
        let mut builder = Connector::builder().url(&url)?.services(services);
        for (name, value) in parameters {
            builder = builder.set(name, value)?;
        }
        Ok(builder.build()?)
    }

    fn services(connector: &Connector) -> &Services {
        connector.services()
    }

    async fn wrapped(connector: &Connector) -> Result<Conn, AnyError> {
        Ok(connector.connect().await?)
    }

    fn generic(wrapped: Conn) -> Option<Generic<Conn>> {
        Some(Generic(wrapped))
    }

    async fn bare(host: &str, address: SocketAddr) -> Result<Self::Bare, AnyError> {
        let options = OptsBuilder::default()
            .ip_or_hostname(host)
            .resolved_ips(Some(vec![address.ip()]))
            .tcp_port(address.port())
            .user(Some(USER))
            .pass(Some(PASSWORD))
            .db_name(Some(DATABASE))
            // The driver would ask for the server's local socket after each connect, and go there.
            .prefer_socket(false);
        Ok(Generic(mysql_async::Conn::new(options).await?))
    }

    async fn number(bare: &mut Self::Bare, sql: &str) -> Result<i64, AnyError> {
        Ok(bare.0.query_first(sql).await?.ok_or("no row")?)
    }

    async fn words(bare: &mut Self::Bare, sql: &str) -> Result<String, AnyError> {
        Ok(bare.0.query_first(sql).await?.ok_or("no row")?)
    }

    async fn rows(bare: &mut Self::Bare, sql: &str) -> Result<Vec<RowId>, AnyError> {
        Ok(bare.0.query(sql).await?)
    }
}

/// A connection used through the driver's trait. The bare driver has no other way.
#[derive(Debug)]
pub struct Generic<C>(C);

impl<C: Queryable + Sync + 'static> Session for Generic<C> {
    type Statement = mysql_async::Statement;

    async fn run(&mut self, sql: &str) -> Result<(), AnyError> {
        Ok(self.0.query_drop(sql).await?)
    }

    async fn prepare(&mut self, sql: &str) -> Result<Self::Statement, AnyError> {
        Ok(self.0.prep(sql).await?)
    }

    async fn insert(&mut self, statement: &Self::Statement, row: RowId) -> Result<(), AnyError> {
        Ok(self.0.exec_drop(statement, row).await?)
    }

    async fn ask(&mut self, sql: &str) -> Result<(), AnyError> {
        self.0.query_first::<i64, _>(sql).await?;
        Ok(())
    }

    async fn ask_prepared(&mut self, statement: &Self::Statement) -> Result<(), AnyError> {
        self.0.exec_first::<i64, _, _>(statement, ()).await?;
        Ok(())
    }
}

/// The methods beside the trait.
impl Session for Conn {
    type Statement = Statement;

    async fn run(&mut self, sql: &str) -> Result<(), AnyError> {
        Ok(self.query_drop(sql).await?)
    }

    async fn prepare(&mut self, sql: &str) -> Result<Statement, AnyError> {
        Ok(self.prep(sql).await?)
    }

    async fn insert(&mut self, statement: &Statement, row: RowId) -> Result<(), AnyError> {
        Ok(self.exec_drop(statement, row).await?)
    }

    async fn ask(&mut self, sql: &str) -> Result<(), AnyError> {
        self.query_first::<i64, _>(sql).await?;
        Ok(())
    }

    async fn ask_prepared(&mut self, statement: &Statement) -> Result<(), AnyError> {
        self.exec_first::<i64, _, _>(statement, ()).await?;
        Ok(())
    }
}
