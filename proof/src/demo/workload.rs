//! The work of the demo: insert a numbered row every 2 ms and remember which ones were acknowledged.
//!
//! With several connections each takes its share. After an error a connection goes on at once.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use aurora_sim::{Cluster, Names};
use aws_wrapper_core::services::Services;
use aws_wrapper_pg::Connector;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::NoTls;

use crate::names::SimResolver;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A row: number of the connection, number of the row.
pub type RowId = (i32, i64);

/// What one connection saw.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Log {
    /// Acknowledged rows and when.
    pub acknowledged: Vec<(Instant, RowId)>,
    /// Errors and when.
    pub errors: Vec<(Instant, String)>,
}

/// One way to write a row.
pub trait Client: Send + 'static {
    /// The connection's number.
    fn number(&self) -> i32;
    /// Writes one row; whatever it takes to be ready for the next one happens here too.
    fn insert(&mut self, row: RowId) -> impl Future<Output = Result<(), String>> + Send;
}

/// All connections of one kind together write a row this often.
const PACE: Duration = Duration::from_millis(2);

/// A client at work.
#[derive(Debug)]
pub struct Worker {
    task: JoinHandle<Log>,
    progress: watch::Receiver<Option<Instant>>,
}

impl Worker {
    /// Starts `client`, one of `connections` of its kind; it works until told to stop.
    #[expect(clippy::disallowed_methods, reason = "the worker owns its task")]
    pub fn start(client: impl Client, connections: u32, stopped: watch::Receiver<bool>) -> Self {
        let (progressed, progress) = watch::channel(None);
        Self { task: tokio::spawn(work(client, PACE * connections, stopped, progressed)), progress }
    }

    /// The moment of the last acknowledged row.
    pub fn progress(&self) -> watch::Receiver<Option<Instant>> {
        self.progress.clone()
    }

    /// Waits for the end and returns what it saw.
    ///
    /// # Errors
    /// When the client panicked.
    pub async fn finish(self) -> Result<Log, tokio::task::JoinError> {
        self.task.await
    }
}

async fn work(
    mut client: impl Client,
    pace: Duration,
    stopped: watch::Receiver<bool>,
    progressed: watch::Sender<Option<Instant>>,
) -> Log {
    let mut log = Log::default();
    let mut pace = interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut row = 0;
    while !*stopped.borrow() {
        pace.tick().await;
        let id = (client.number(), row);
        // A row is never repeated: after an error nobody knows whether it was written.
        row += 1;
        match client.insert(id).await {
            Ok(()) => {
                let now = Instant::now();
                log.acknowledged.push((now, id));
                progressed.send_replace(Some(now));
            }
            Err(error) => {
                log.errors.push((Instant::now(), error));
                pace.reset_immediately();
            }
        }
    }
    log
}

/// Writes through the wrapper. After an error it just goes on.
#[derive(Debug)]
pub struct Wrapped {
    client: aws_wrapper_pg::Client,
    statement: aws_wrapper_pg::Statement,
    number: i32,
}

impl Wrapped {
    /// Its table.
    pub const TABLE: &'static str = "wrapper_rows";

    /// Connects to the writer endpoint.
    ///
    /// # Errors
    /// The wrapper's.
    pub async fn open(connector: &Connector, number: u32) -> Result<Self, AnyError> {
        let client = connector.connect().await?;
        let statement = client.prepare(&insert_into(Self::TABLE)).await?;
        Ok(Self { client, statement, number: i32::try_from(number)? })
    }
}

impl Client for Wrapped {
    fn number(&self) -> i32 {
        self.number
    }

    async fn insert(&mut self, (connection, row): RowId) -> Result<(), String> {
        match self.client.execute(&self.statement, &[&connection, &row]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Writes through tokio-postgres, and reconnects to the cluster's name until it can write again.
#[derive(Debug)]
pub struct Bare {
    connection: Option<BareConnection>,
    names: Names,
    host: String,
    port: u16,
    number: i32,
}

#[derive(Debug)]
struct BareConnection {
    client: tokio_postgres::Client,
    statement: tokio_postgres::Statement,
    driver: JoinHandle<()>,
}

impl Drop for BareConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Between two attempts of the reconnect loop, and for one of them.
const RETRY: Duration = Duration::from_millis(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

impl Bare {
    /// Its table.
    pub const TABLE: &'static str = "bare_rows";

    /// Connects to the writer endpoint.
    ///
    /// # Errors
    /// The driver's.
    pub async fn open(cluster: &Cluster, number: u32) -> Result<Self, AnyError> {
        let mut bare = Self {
            connection: None,
            names: cluster.names(),
            host: cluster.endpoint(),
            port: cluster.port(),
            number: i32::try_from(number)?,
        };
        bare.connection = Some(bare.connect().await?);
        Ok(bare)
    }

    async fn connect(&self) -> Result<BareConnection, AnyError> {
        let address = self.names.lookup(&self.host).into_iter().next().ok_or("the name does not resolve")?;
        let (client, connection) =
            timeout(CONNECT_LIMIT, config(&self.host, address, self.port).connect(NoTls)).await??;
        #[expect(clippy::disallowed_methods, reason = "owned and aborted by the connection")]
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        let statement = client.prepare(&insert_into(Self::TABLE)).await?;
        Ok(BareConnection { client, statement, driver })
    }
}

impl Client for Bare {
    fn number(&self) -> i32 {
        self.number
    }

    async fn insert(&mut self, (connection, row): RowId) -> Result<(), String> {
        if self.connection.is_none() {
            match self.connect().await {
                Ok(fresh) => self.connection = Some(fresh),
                Err(error) => {
                    sleep(RETRY).await;
                    return Err(error.to_string());
                }
            }
        }
        let current = self.connection.as_ref().ok_or("not connected")?;
        match current.client.execute(&current.statement, &[&connection, &row]).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // Also a refused write: the name may have led to a reader.
                self.connection = None;
                sleep(RETRY).await;
                Err(error.to_string())
            }
        }
    }
}

fn config(host: &str, address: IpAddr, port: u16) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host(host).hostaddr(address).port(port).user("app").password("secret").dbname("app");
    config
}

fn insert_into(table: &str) -> String {
    format!("insert into {table} (connection, number) values ($1, $2)")
}

/// A connector to the cluster's writer endpoint with the default plugins.
///
/// # Errors
/// The wrapper's.
pub fn connector(cluster: &Cluster) -> Result<Connector, aws_wrapper_core::Error> {
    let url = format!("postgresql://app:secret@{}:{}/app", cluster.endpoint(), cluster.port());
    let services = Services::with_resolver(SimResolver::new([cluster.names()]));
    Connector::builder().url(&url)?.services(services).build()
}

/// Makes the tables of both workloads.
///
/// # Errors
/// The driver's.
pub async fn create_tables(cluster: &Cluster) -> Result<(), AnyError> {
    let client = admin(cluster).await?;
    for table in [Wrapped::TABLE, Bare::TABLE] {
        // No key: a row written twice has to show.
        client
            .client
            .batch_execute(&format!("create table {table} (connection int not null, number bigint not null)"))
            .await?;
    }
    Ok(())
}

/// Every row of a table.
///
/// # Errors
/// The driver's.
pub async fn rows(cluster: &Cluster, table: &str) -> Result<Vec<RowId>, AnyError> {
    let client = admin(cluster).await?;
    let rows = client.client.query(&format!("select connection, number from {table}"), &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

struct Admin {
    client: tokio_postgres::Client,
    driver: JoinHandle<()>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn admin(cluster: &Cluster) -> Result<Admin, AnyError> {
    let host = cluster.instance_endpoint(&cluster.writer());
    let address = cluster.names().lookup(&host).into_iter().next().ok_or("the writer has no address")?;
    let (client, connection) = config(&host, address, cluster.port()).connect(NoTls).await?;
    #[expect(clippy::disallowed_methods, reason = "owned and aborted by `Admin`")]
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Admin { client, driver })
}
