//! The core's view of tokio-postgres.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_wrapper_core::driver::ConnectRequest;
use aws_wrapper_core::driver::DriverDialect;
use aws_wrapper_core::engine::Engine;
use aws_wrapper_core::error::{DriverClass, Error, Result as CoreResult};
use aws_wrapper_core::host::Role;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::table::Table;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, SimpleQueryMessage};

use crate::classify::{classify, sqlstate};
use crate::connect::{self, SocketOptions};
use crate::error::{DriverError, into_error, statement_failed};
use crate::notifications::Session;
use crate::physical::Physical;
use crate::tls::Tls;

/// tokio-postgres with a configuration: what a connector and its plugins are made for.
pub struct PgDriver {
    config: Config,
    tls: Arc<Tls>,
    unix_directory: Option<PathBuf>,
    /// Addresses given for names, so that no look-up is needed.
    fixed: Vec<(String, IpAddr)>,
}

impl PgDriver {
    /// The hosts of `config` are only looked at for what the core does not know: a socket directory and `hostaddr`.
    pub(crate) fn new(config: Config, tls: Tls) -> CoreResult<Self> {
        let unix_directory = match config.get_hosts() {
            #[cfg(unix)]
            [Host::Unix(path)] => Some(path.clone()),
            #[cfg(unix)]
            hosts if hosts.iter().any(|host| matches!(host, Host::Unix(_))) => {
                return Err(Error::config("a socket directory cannot be one of several hosts"));
            }
            _ => None,
        };
        let fixed = match (config.get_hosts(), config.get_hostaddrs()) {
            (_, []) => Vec::new(),
            (hosts, addresses) if hosts.len() == addresses.len() => {
                let names = hosts.iter().map(|host| match host {
                    Host::Tcp(name) => name.to_ascii_lowercase(),
                    #[cfg(unix)]
                    Host::Unix(path) => path.display().to_string(),
                });
                names.zip(addresses.iter().copied()).collect()
            }
            _ => return Err(Error::config("`hostaddr` needs one address for each host")),
        };
        Ok(Self { config, tls: Arc::new(tls), unix_directory, fixed })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn tls(&self) -> &Arc<Tls> {
        &self.tls
    }

    pub(crate) fn unix_directory(&self) -> Option<&Path> {
        self.unix_directory.as_deref()
    }

    pub(crate) fn fixed_address(&self, name: &str) -> Option<IpAddr> {
        self.fixed.iter().find(|(fixed, _)| fixed == name).map(|(_, address)| *address)
    }

    pub(crate) fn socket(&self, request: &ConnectRequest) -> SocketOptions {
        SocketOptions::new(request.network(), &self.config)
    }
}

/// What a client shares with its transactions and streams.
pub(crate) type Shared = aws_wrapper_core::connector::Link<PgDriver>;

impl DriverDialect for PgDriver {
    const ENGINE: Engine = Engine::Postgres;
    type Connection = Physical;
    type Error = DriverError;
    type Session = Session;

    async fn connect(&self, request: &ConnectRequest) -> Result<Physical, DriverError> {
        connect::connect(self, request).await
    }

    async fn fetch_text(&self, connection: &mut Physical, sql: &str) -> Result<Table, DriverError> {
        fetch_text(&connection.client, sql).await.map_err(|error| ended_or(error, connection.slot()))
    }

    async fn ping(&self, connection: &mut Physical) -> Result<(), DriverError> {
        let answer = ping(&connection.client).await;
        answer.map_err(|error| ended_or(error, connection.slot()))
    }

    async fn configure(&self, connection: &mut Physical, session: &Session) -> Result<(), DriverError> {
        connection.owner.set_client(session.inbox());
        let Some(listen) = session.listen_sql() else { return Ok(()) };
        // What the server said when the connection was opened does not count: it may have been promoted since.
        if let Err(error) = connection.client.batch_execute(&listen).await {
            let error = ended_or(error, connection.slot());
            if classify(&error) != DriverClass::Role {
                return Err(error);
            }
            tracing::warn!(host = %connection.slot().host(), %error, "a server in recovery sends no notifications");
        }
        session.inbox().push_gap();
        Ok(())
    }

    fn classify(&self, error: &DriverError) -> DriverClass {
        classify(error)
    }

    fn sqlstate<'e>(&self, error: &'e DriverError) -> Option<&'e str> {
        sqlstate(error)
    }

    fn slot<'c>(&self, connection: &'c Physical) -> &'c Arc<Slot> {
        connection.slot()
    }

    fn startup_role(&self, connection: &Physical) -> Option<Role> {
        connection.startup_role
    }

    fn error(&self, error: DriverError) -> Error {
        into_error(error)
    }
}

impl fmt::Debug for PgDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The driver leaves the password out of its own `Debug`.
        f.debug_struct("PgDriver")
            .field("config", &self.config)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// A closed connection with the reason, as far as it is known already.
fn ended_or(error: tokio_postgres::Error, slot: &Slot) -> DriverError {
    match slot.end_reason() {
        Some(reason) if error.is_closed() => DriverError::ended(reason.clone(), Some(error)),
        _ => statement_failed(error),
    }
}

/// Asks the server for a sign of life, by an empty statement. The driver's own question is answered by nothing but that the
/// server is ready, which the scanner of the connection takes for a stray.
pub(crate) async fn ping(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("").await
}

/// The rows of the last statement of `sql` that returns rows, as text.
pub(crate) async fn fetch_text(client: &Client, sql: &str) -> Result<Table, tokio_postgres::Error> {
    let mut columns = Vec::new();
    let mut rows = Vec::new();
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::RowDescription(described) => {
                columns = described.iter().map(|column| column.name().to_owned()).collect();
                rows = Vec::new();
            }
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect());
            }
            _ => {}
        }
    }
    Ok(Table::new(columns, rows))
}
