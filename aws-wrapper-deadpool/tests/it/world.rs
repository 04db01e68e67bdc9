//! A cluster by script, an adapter to it, and pools.

use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::Result;
use aws_wrapper_core::config::Config;
use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::driver::DriverDialect;
use aws_wrapper_core::host::{HostKey, Role};
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::services::Services;
use aws_wrapper_core::session::transaction::TransactionState;
use aws_wrapper_core::testing::cluster::FakeCluster;
use aws_wrapper_core::testing::driver::{FakeConnection, FakeDriver};
use aws_wrapper_deadpool::adapter::Adapter;
use aws_wrapper_deadpool::deadpool::managed;
use aws_wrapper_deadpool::{Manager, Status};
use tokio::time::{Instant, sleep, timeout};

pub(crate) const WRITER: &str = "my.cluster-xyz.us-east-2.rds.amazonaws.com";
pub(crate) const READER: &str = "my.cluster-ro-xyz.us-east-2.rds.amazonaws.com";
pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) type Pool = aws_wrapper_deadpool::Pool<Fake>;
pub(crate) type Builder = aws_wrapper_deadpool::Builder<Fake>;
pub(crate) type Object = aws_wrapper_deadpool::Object<Fake>;
pub(crate) type Hook = managed::Hook<Manager<Fake>>;

/// The adapter of the fake driver.
#[derive(Debug)]
pub(crate) struct Fake;

/// A connection of the fake driver; it never changes its host.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: FakeConnection,
    driver: Arc<FakeDriver>,
    /// What hooks leave here.
    pub(crate) notes: Vec<&'static str>,
}

impl Client {
    fn new(connector: &Connector<FakeDriver>, connection: FakeConnection) -> Self {
        Self { connection, driver: Arc::clone(connector.driver()), notes: Vec::new() }
    }

    pub(crate) fn name(&self) -> &str {
        self.connection.name()
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        self.connection.slot()
    }

    pub(crate) fn id(&self) -> u64 {
        self.slot().id()
    }

    async fn ask(&mut self, sql: &str) -> Result<()> {
        let answer = self.driver.fetch_text(&mut self.connection, sql).await;
        answer.map(drop).map_err(|error| self.driver.error(error))
    }
}

impl Adapter for Fake {
    type Driver = FakeDriver;
    type Connector = Connector<FakeDriver>;
    type Client = Client;
    type Error = aws_wrapper_core::Error;
    const NOTICES_ITS_END: bool = true;
    const IDLE_CHECK_AFTER: Duration = Duration::from_secs(30);
    const BOUND_TO_RUNTIME: bool = false;

    fn into_core(error: Self::Error) -> aws_wrapper_core::Error {
        error
    }

    fn core(connector: &Self::Connector) -> &Connector<FakeDriver> {
        connector
    }

    async fn connect(connector: &Self::Connector) -> Result<Client> {
        Ok(Client::new(connector, connector.connect().await?))
    }

    async fn connect_to_host(connector: &Self::Connector, host: &HostKey, role: Role) -> Result<Client> {
        Ok(Client::new(connector, connector.connect_to_host(host, role).await?))
    }

    fn slot(client: &Client) -> Arc<Slot> {
        Arc::clone(client.slot())
    }

    fn is_left_open(_: &mut Client) -> bool {
        false
    }

    async fn clear_up(client: &mut Client) -> Result<()> {
        if client.slot().transaction() == TransactionState::Unknown {
            Self::ping(client).await?;
        }
        if client.slot().transaction() != TransactionState::Idle {
            client.ask("rollback").await?;
        }
        Ok(())
    }

    async fn reset(client: &mut Client) -> Result<bool> {
        client.notes.clear();
        client.ask("select").await.map(|()| true)
    }

    async fn ping(client: &mut Client) -> Result<()> {
        let answer = client.driver.ping(&mut client.connection).await;
        answer.map_err(|error| client.driver.error(error))
    }
}

/// A cluster of three, the first of which is the writer.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: FakeCluster,
    pub(crate) driver: FakeDriver,
    pub(crate) services: Services,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(&["i-1", "i-2", "i-3"])
    }

    pub(crate) fn of(names: &[&str]) -> Self {
        let cluster = FakeCluster::with_domain(names, "xyz.us-east-2.rds.amazonaws.com");
        for name in names {
            cluster.set_delays(name, MS, Duration::ZERO);
        }
        cluster.alias(WRITER, names[0]);
        cluster.alias(READER, names.last().unwrap());
        let driver = FakeDriver::new(&cluster);
        Self { cluster, driver, services: Services::new() }
    }

    pub(crate) fn builder_to(&self, host: &str, pairs: &[(&str, &str)]) -> Builder {
        let config = Config::from_pairs(pairs.iter().copied());
        let host = HostKey::new(host, 5432).unwrap();
        let connector = Connector::builder(self.driver.clone(), config, vec![host]);
        Pool::builder(connector.services(self.services.clone()).build().unwrap())
    }

    pub(crate) fn builder(&self, pairs: &[(&str, &str)]) -> Builder {
        self.builder_to(WRITER, pairs)
    }

    pub(crate) fn pool(&self, pairs: &[(&str, &str)]) -> Pool {
        self.builder(pairs).build().unwrap()
    }
}

/// Fills the pool with so many idle connections to the writer and returns their numbers.
pub(crate) async fn fill(pool: &Pool, count: usize) -> Vec<u64> {
    let mut objects = Vec::new();
    for _ in 0..count {
        objects.push(pool.writer().await.unwrap());
    }
    objects.iter().map(|object| object.id()).collect()
}

/// How often connections were not used again for this reason.
pub(crate) fn discarded(status: &Status, reason: &str) -> u64 {
    status.sub_pools.iter().filter_map(|sub| sub.discarded.get(reason)).sum()
}

/// What `future` gives, and how long it takes.
pub(crate) async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let begun = Instant::now();
    (future.await, begun.elapsed())
}

/// Waits until `condition` holds; the clock is paused, so this costs no time.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(MS).await;
        }
    };
    timeout(Duration::from_secs(3600), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
