//! Our own connection to a server: as superuser, past the proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::error::{Error, ErrorKind, Result};
use crate::tasks::Tasks;

/// No statement of ours takes longer on a server that runs.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(5);

/// One server's control connection, opened when first needed and again after the server was away.
#[derive(Debug)]
pub(crate) struct Link {
    instance: String,
    server: SocketAddr,
    client: Mutex<Option<Arc<Client>>>,
    tasks: Tasks,
}

impl Link {
    pub(crate) fn new(instance: &str, server: SocketAddr, tasks: &Tasks) -> Self {
        Self { instance: instance.to_owned(), server, client: Mutex::new(None), tasks: tasks.clone() }
    }

    /// Runs statements and gives the first column of the first row of the last one that has rows.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Option<String>> {
        Ok(self.rows(sql).await?.into_iter().next().and_then(|mut row| row.swap_remove(0)))
    }

    /// Runs statements and gives all rows as text.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let work = async {
            let client = self.client().await?;
            client.simple_query(sql).await.map_err(|error| self.failed(error))
        };
        let messages = timeout(STATEMENT_DEADLINE, work)
            .await
            .map_err(|_| Error::timeout(format!("a statement on {}", self.instance), STATEMENT_DEADLINE))??;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// A connection of its own to one database, for work that must stay on one session.
    pub(crate) async fn open(&self, database: &str) -> Result<Client> {
        let mut config = tokio_postgres::Config::new();
        config.host(self.server.ip().to_string()).port(self.server.port());
        config.user("postgres").dbname(database).application_name("aurora-sim");
        config.connect_timeout(STATEMENT_DEADLINE);
        let (client, connection) = config.connect(NoTls).await.map_err(|error| self.failed(error))?;
        self.tasks.spawn(async move {
            // Its error reaches whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(client)
    }

    /// Closes the connection; the next statement opens a new one.
    pub(crate) async fn forget(&self) {
        self.client.lock().await.take();
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let client = Arc::new(self.open("postgres").await?);
        *slot = Some(client.clone());
        Ok(client)
    }

    pub(crate) fn failed(&self, source: tokio_postgres::Error) -> Error {
        ErrorKind::Database { instance: self.instance.clone(), source }.into()
    }
}
