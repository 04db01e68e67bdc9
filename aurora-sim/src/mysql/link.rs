//! Our own connection to a server: as superuser, past the proxy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};

/// No statement of ours takes longer on a server that runs.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(5);

/// One server's control connection, opened when first needed and again after the server was away.
#[derive(Debug)]
pub(crate) struct Link {
    instance: String,
    server: SocketAddr,
    connection: Mutex<Option<Conn>>,
}

impl Link {
    pub(crate) fn new(instance: &str, server: SocketAddr) -> Self {
        Self { instance: instance.to_owned(), server, connection: Mutex::new(None) }
    }

    /// Runs a statement and gives the first column of the first row as text.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Option<String>> {
        Ok(self.rows(sql).await?.into_iter().next().and_then(|row| text(&row, 0)))
    }

    /// Runs statements one by one, each with the deadline.
    pub(crate) async fn run(&self, statements: &[&str]) -> Result<()> {
        for sql in statements {
            self.rows(sql).await?;
        }
        Ok(())
    }

    /// The first row of a statement by column names; empty without a row.
    pub(crate) async fn fields(&self, sql: &str) -> Result<HashMap<String, String>> {
        let Some(row) = self.rows(sql).await?.into_iter().next() else { return Ok(HashMap::new()) };
        let names = row.columns_ref().iter().map(|column| column.name_str().into_owned());
        Ok(names.enumerate().map(|(i, name)| (name, text(&row, i).unwrap_or_default())).collect())
    }

    /// Runs a statement and gives its rows.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        self.rows_within(sql, STATEMENT_DEADLINE).await
    }

    /// As [`rows`](Self::rows), with a deadline. A connection that fails or takes too long is given up.
    pub(crate) async fn rows_within(&self, sql: &str, deadline: Duration) -> Result<Vec<Row>> {
        let mut slot = self.connection.lock().await;
        let work = async {
            let mut connection = match slot.take() {
                Some(connection) => connection,
                None => self.open().await?,
            };
            let answer = connection.query(sql).await;
            Ok::<_, Error>((connection, answer))
        };
        let (connection, answer) = timeout(deadline, work)
            .await
            .map_err(|_| Error::timeout(format!("a statement on {}", self.instance), deadline))??;
        // After an error of the server's the connection is as good as before.
        if matches!(answer, Ok(_) | Err(mysql_async::Error::Server(_))) {
            *slot = Some(connection);
        }
        answer.map_err(|error| self.failed(error))
    }

    /// A connection of its own, for work that takes its time.
    pub(crate) async fn open(&self) -> Result<Conn> {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.server.ip().to_string())
            .tcp_port(self.server.port())
            .user(Some("root"))
            .prefer_socket(Some(false))
            .max_allowed_packet(Some(16 << 20))
            .wait_timeout(Some(28_800));
        let opened = timeout(STATEMENT_DEADLINE, Conn::new(Opts::from(options))).await;
        let late = |_| Error::timeout(format!("a connection to {}", self.instance), STATEMENT_DEADLINE);
        opened.map_err(late)?.map_err(|error| self.failed(error))
    }

    /// Closes the connection; the next statement opens a new one.
    pub(crate) async fn forget(&self) {
        self.connection.lock().await.take();
    }

    pub(crate) fn failed(&self, source: mysql_async::Error) -> Error {
        ErrorKind::MySql { instance: self.instance.clone(), source }.into()
    }
}

impl Drop for Link {
    /// A connection that is dropped inside a runtime would leave a task there that says goodbye; the servers are gone.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.get_mut().take() {
            let _ = std::thread::spawn(move || drop(connection)).join();
        }
    }
}

/// A column as text; absent when it is null.
pub(crate) fn text(row: &Row, column: usize) -> Option<String> {
    match row.as_ref(column)? {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        other => Some(other.as_sql(true)),
    }
}
