//! The work of the demo: insert a numbered row every 2 ms and remember which ones were acknowledged.
//!
//! With several connections each takes its share. After an error a connection goes on at once.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use aurora_sim::{Cluster, Names};
use aws_wrapper_core::services::Services;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::driver::{AnyError, Driver, RowId, Session};
use crate::names::SimResolver;

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

/// The table of the wrapped connections.
pub const WRAPPED_TABLE: &str = "wrapper_rows";
/// The table of the bare connections.
pub const BARE_TABLE: &str = "bare_rows";

/// A connection with the statement it is for.
struct Ready<S: Session> {
    session: S,
    statement: S::Statement,
}

impl<S: Session> Ready<S> {
    async fn new<D: Driver>(mut session: S, table: &str) -> Result<Self, AnyError> {
        let statement = prepare::<D, S>(&mut session, table).await?;
        Ok(Self { session, statement })
    }

    async fn insert(&mut self, row: RowId) -> Result<(), String> {
        self.session.insert(&self.statement, row).await.map_err(|error| error.to_string())
    }
}

async fn prepare<D: Driver, S: Session>(session: &mut S, table: &str) -> Result<S::Statement, AnyError> {
    let sql = format!("insert into {table} (connection, number) values ({})", D::TWO_PARAMETERS);
    session.prepare(&sql).await
}

/// What the first row of a connection takes: a statement is prepared and run.
///
/// # Errors
/// The driver's.
pub async fn insert_one<D: Driver>(session: &mut D::Bare) -> Result<(), AnyError> {
    let statement = prepare::<D, D::Bare>(session, BARE_TABLE).await?;
    session.insert(&statement, (0, 0)).await
}

/// Writes through the wrapper. After an error it just goes on.
pub struct Wrapped<D: Driver> {
    connection: Ready<D::Wrapped>,
    number: i32,
}

impl<D: Driver> Wrapped<D> {
    /// Connects to the writer endpoint.
    ///
    /// # Errors
    /// The wrapper's.
    pub async fn open(connector: &D::Connector, number: u32) -> Result<Self, AnyError> {
        let connection = Ready::new::<D>(D::wrapped(connector).await?, WRAPPED_TABLE).await?;
        Ok(Self { connection, number: i32::try_from(number)? })
    }
}

impl<D: Driver> Client for Wrapped<D> {
    fn number(&self) -> i32 {
        self.number
    }

    async fn insert(&mut self, row: RowId) -> Result<(), String> {
        self.connection.insert(row).await
    }
}

impl<D: Driver> fmt::Debug for Wrapped<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Writes through the bare driver, and reconnects to the cluster's name until it can write again.
pub struct Bare<D: Driver> {
    connection: Option<Ready<D::Bare>>,
    names: Names,
    host: String,
    port: u16,
    number: i32,
}

/// Between two attempts of the reconnect loop, and for one of them: long enough for hundreds that connect to a slow
/// machine at the same moment, who would else give up and begin again for ever.
const RETRY: Duration = Duration::from_millis(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

impl<D: Driver> Bare<D> {
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

    /// Exclusive, because the drivers' connections cannot be shared.
    async fn connect(&mut self) -> Result<Ready<D::Bare>, AnyError> {
        let session = timeout(CONNECT_LIMIT, connect::<D>(&self.names, &self.host, self.port)).await??;
        Ready::new::<D>(session, BARE_TABLE).await
    }
}

impl<D: Driver> Client for Bare<D> {
    fn number(&self) -> i32 {
        self.number
    }

    async fn insert(&mut self, row: RowId) -> Result<(), String> {
        let mut current = match self.connection.take() {
            Some(current) => current,
            None => match self.connect().await {
                Ok(fresh) => fresh,
                Err(error) => {
                    sleep(RETRY).await;
                    return Err(error.to_string());
                }
            },
        };
        let result = current.insert(row).await;
        if result.is_ok() {
            self.connection = Some(current);
        } else {
            // Also a refused write: the name may have led to a reader.
            drop(current);
            sleep(RETRY).await;
        }
        result
    }
}

impl<D: Driver> fmt::Debug for Bare<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bare").field("host", &self.host).field("number", &self.number).finish_non_exhaustive()
    }
}

/// Connects with the bare driver to where a name leads at this moment.
async fn connect<D: Driver>(names: &Names, host: &str, port: u16) -> Result<D::Bare, AnyError> {
    let address = names.lookup(host).into_iter().next().ok_or("the name does not resolve")?;
    D::bare(host, SocketAddr::new(address, port)).await
}

/// A connector to the cluster's writer endpoint with the default plugins.
///
/// # Errors
/// The wrapper's.
pub fn connector<D: Driver>(cluster: &Cluster) -> Result<D::Connector, AnyError> {
    let services = Services::with_resolver(SimResolver::new([cluster.names()]));
    D::connector(&cluster.endpoint(), cluster.port(), services)
}

/// Makes the tables of both workloads.
///
/// # Errors
/// The driver's.
pub async fn create_tables<D: Driver>(cluster: &Cluster) -> Result<(), AnyError> {
    let mut session = at_writer::<D>(cluster).await?;
    for table in [WRAPPED_TABLE, BARE_TABLE] {
        // No key: a row written twice has to show.
        let sql = format!("create table {table} (connection int not null, number bigint not null)");
        session.run(&sql).await?;
    }
    Ok(())
}

/// Every row of a table.
///
/// # Errors
/// The driver's.
pub async fn rows<D: Driver>(cluster: &Cluster, table: &str) -> Result<Vec<RowId>, AnyError> {
    let mut session = at_writer::<D>(cluster).await?;
    D::rows(&mut session, &format!("select connection, number from {table}")).await
}

async fn at_writer<D: Driver>(cluster: &Cluster) -> Result<D::Bare, AnyError> {
    let host = cluster.instance_endpoint(&cluster.writer());
    connect::<D>(&cluster.names(), &host, cluster.port()).await
}
