//! A driver and a client without sockets: connections to a [`FakeCluster`] that break when their host does.
//!
//! The client does what a client of an adapter does, so that a whole failover runs in a test with a paused clock. The
//! servers understand enough SQL to open, fail and end transactions and to refuse writes where a reader would.
//!
//! ```
//! use aws_wrapper_core::config::Config;
//! use aws_wrapper_core::connector::Connector;
//! use aws_wrapper_core::testing::cluster::{FakeCluster, Reach};
//! use aws_wrapper_core::testing::driver::{FakeClient, FakeDriver};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> aws_wrapper_core::Result<()> {
//! let cluster = FakeCluster::new(&["i-1", "i-2"]);
//! let mut config = Config::from_pairs([("plugins", "failover")]);
//! config.set("cluster_instance_host_pattern", "?.fake.example");
//! let driver = FakeDriver::new(&cluster);
//! let connector = Connector::builder(driver, config, vec![cluster.key("i-1")]).build()?;
//! let client = FakeClient::connect(&connector).await?;
//!
//! cluster.set_reach("i-1", Reach::Refuses);
//! cluster.promote("i-2");
//! let error = client.query("select 1").await.unwrap_err();
//! assert!(error.is_failover_success());
//! assert_eq!(client.query("select 1").await?, "i-2");
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::connector::Connector;
use crate::dialect::{DatabaseDialect, TopologyDialect, aurora};
use crate::driver::{ConnectRequest, DriverDialect};
use crate::engine::Engine;
use crate::error::{DriverClass, Error, ErrorKind, Result};
use crate::host::{HostKey, Role};
use crate::method::Method;
use crate::plugin::{Ask, Call, Logical};
use crate::registry::{Purpose, Slot};
use crate::session::transaction::TransactionState;
use crate::table::Table;
use crate::testing::cluster::{FakeCluster, FakeProbe, wait};
use crate::topology::cluster::ClusterSession;

/// Connects to the hosts of a [`FakeCluster`]. Clones share the script and the log.
#[derive(Debug, Clone)]
pub struct FakeDriver {
    cluster: FakeCluster,
    user: String,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    planned: Vec<Planned>,
    roles: BTreeMap<String, VecDeque<Role>>,
    is_plain: bool,
    connects: Vec<Dialled>,
    configured: Vec<HostKey>,
    rolled_back: usize,
    refuses_commits: bool,
}

/// What the driver can be made to do otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum On {
    /// Opening a connection for the application.
    Connect,
    /// Opening a connection for the topology monitor.
    Monitor,
    /// A question of the wrapper's own, on any connection.
    Question,
    /// Applying a session's settings to a new connection.
    Configure,
    /// A call of the application.
    Call,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// What always happens.
    Normal,
    /// An error of that class; the connection stays as it is.
    Fails(DriverClass),
    /// An error of that class with that SQLSTATE.
    FailsWith(DriverClass, &'static str),
    /// What always happens, but so much later.
    Slow(Duration),
    /// Nothing, ever.
    Never,
}

#[derive(Debug)]
struct Planned {
    on: On,
    name: String,
    left: u32,
    outcome: Outcome,
}

/// One attempt at a connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dialled {
    /// The host asked for.
    pub host: HostKey,
    /// What for.
    pub purpose: Purpose,
    /// When.
    pub at: Instant,
}

impl FakeDriver {
    /// Connects as the user `app` to a cluster of Aurora PostgreSQL.
    pub fn new(cluster: &FakeCluster) -> Self {
        Self { cluster: cluster.clone(), user: "app".to_owned(), script: Arc::default() }
    }

    /// The same servers are plain PostgreSQL: they tell their role while connecting, and know no topology.
    #[must_use]
    pub fn plain(self) -> Self {
        self.script.lock().is_plain = true;
        self
    }

    /// The next `times` times `outcome` happens on `name`, an instance.
    pub fn plan(&self, on: On, name: &str, times: u32, outcome: Outcome) {
        self.script.lock().planned.push(Planned { on, name: name.to_owned(), left: times, outcome });
    }

    /// Forgets what was planned and did not happen.
    pub fn clear(&self) {
        self.script.lock().planned.clear();
    }

    /// What `name` answers when it is next asked for its role alone, one answer a time; then the truth again.
    pub fn answer_roles(&self, name: &str, roles: &[Role]) {
        self.script.lock().roles.entry(name.to_owned()).or_default().extend(roles);
    }

    /// Every attempt at a connection so far.
    pub fn connects(&self) -> Vec<Dialled> {
        self.script.lock().connects.clone()
    }

    /// Attempts for the application so far.
    pub fn application_connects(&self) -> usize {
        self.script.lock().connects.iter().filter(|dialled| !dialled.purpose.is_monitoring()).count()
    }

    /// Connections that were prepared to take the place of another, by host.
    pub fn configured(&self) -> Vec<HostKey> {
        self.script.lock().configured.clone()
    }

    /// Readers refuse commits from now on, as `MySQL` does: they roll back, and only their next answer tells the state.
    pub fn refuse_commits(&self) {
        self.script.lock().refuses_commits = true;
    }

    /// How often the wrapper rolled a transaction back.
    pub fn rolled_back(&self) -> usize {
        self.script.lock().rolled_back
    }

    fn next(&self, on: On, name: &str) -> Outcome {
        let mut script = self.script.lock();
        let found = script.planned.iter_mut().find(|planned| planned.on == on && planned.name == name);
        let outcome = found.map_or(Outcome::Normal, |planned| {
            planned.left = planned.left.saturating_sub(1);
            planned.outcome
        });
        script.planned.retain(|planned| planned.left > 0);
        outcome
    }

    /// Plays the next planned outcome; an error is the end of it.
    async fn play(&self, on: On, name: &str) -> Result<(), FakeError> {
        match self.next(on, name) {
            Outcome::Normal => Ok(()),
            Outcome::Fails(class) => Err(FakeError::new(class, None, format!("scripted {class:?} error"))),
            Outcome::FailsWith(class, code) => {
                Err(FakeError::new(class, Some(code), format!("scripted {class:?} error {code}")))
            }
            Outcome::Slow(delay) => {
                sleep(delay).await;
                Ok(())
            }
            Outcome::Never => pending().await,
        }
    }

    fn role(&self, name: &str) -> Role {
        let scripted = self.script.lock().roles.get_mut(name).and_then(VecDeque::pop_front);
        scripted.unwrap_or_else(|| self.cluster.role(name))
    }
}

/// What goes wrong between the wrapper and a host of the script.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub struct FakeError(Box<Fault>);

#[derive(Debug, Clone)]
struct Fault {
    class: DriverClass,
    sqlstate: Option<String>,
    message: String,
    /// The wrapper itself gave the connection up.
    aborted: bool,
    nothing_sent: bool,
}

impl FakeError {
    fn new(class: DriverClass, sqlstate: Option<&str>, message: impl Into<String>) -> Self {
        let (sqlstate, message) = (sqlstate.map(str::to_owned), message.into());
        Self(Box::new(Fault { class, sqlstate, message, aborted: false, nothing_sent: false }))
    }

    fn ended(slot: &Slot) -> Self {
        let Some(reason) = slot.end_reason() else {
            return Self::new(DriverClass::Network, None, "connection closed");
        };
        let mut error = Self::new(reason.class, reason.sqlstate.as_deref(), reason.message.clone());
        error.0.aborted = reason.aborted;
        error
    }
}

impl From<Error> for FakeError {
    fn from(error: Error) -> Self {
        let class = error.driver_class().unwrap_or(DriverClass::Network);
        Self::new(class, error.sqlstate(), error.to_string())
    }
}

/// What a session has set and takes along.
#[derive(Debug, Default)]
pub struct FakeSession {
    settings: Mutex<Vec<String>>,
}

impl FakeSession {
    /// Remembers a setting for the connections to come.
    pub fn set(&self, setting: &str) {
        self.settings.lock().push(setting.to_owned());
    }
}

/// A connection to one host of the script.
#[derive(Debug)]
pub struct FakeConnection {
    place: FakeProbe,
    slot: Arc<Slot>,
    driver: FakeDriver,
    startup_role: Option<Role>,
    is_read_only: AtomicBool,
    /// The server has rolled back and has not said so.
    is_rolled_back: AtomicBool,
    settings: Vec<String>,
}

impl FakeConnection {
    /// Its slot.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// The instance it leads to.
    pub fn name(&self) -> &str {
        self.place.name()
    }

    /// The settings of the session that were applied to it.
    pub fn settings(&self) -> &[String] {
        &self.settings
    }

    /// Runs a statement of the application.
    async fn run(&self, sql: &str) -> Result<(), FakeError> {
        self.while_open(async {
            let delay = self.place.answer_delay();
            wait(delay / 2).await;
            self.place.pass().await?;
            let result = match self.driver.play(On::Call, self.name()).await {
                Ok(()) => self.execute(sql),
                Err(error) => {
                    self.fail_transaction();
                    Err(error)
                }
            };
            wait(delay / 2).await;
            self.place.pass().await?;
            result
        })
        .await
    }

    /// Answers a question of the wrapper's own.
    async fn ask(&self, sql: &str) -> Result<Table, FakeError> {
        self.while_open(async {
            let delay = self.place.answer_delay();
            wait(delay / 2).await;
            self.place.pass().await?;
            self.driver.play(On::Question, self.name()).await?;
            let answer = self.answer(sql)?;
            wait(delay / 2).await;
            self.place.pass().await?;
            Ok(answer)
        })
        .await
    }

    async fn while_open<T>(
        &self,
        exchange: impl Future<Output = Result<T, FakeError>>,
    ) -> Result<T, FakeError> {
        tokio::select! {
            biased;
            () = self.slot.wait_ended() => Err(FakeError::ended(&self.slot)),
            result = exchange => result,
        }
    }

    fn execute(&self, sql: &str) -> Result<(), FakeError> {
        use TransactionState::{Failed, Idle, InTransaction};
        let mut words = sql.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let state = self.slot.transaction();
        let ends = matches!(first, "commit" | "rollback") && second != "to";
        if state == Failed && first != "rollback" && !ends {
            let text = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(FakeError::new(DriverClass::Other, Some("25P02"), text));
        }
        let is_write = matches!(first, "insert" | "update" | "delete" | "create");
        let is_reader = self.driver.cluster.role(self.name()) == Role::Reader;
        if is_write && (is_reader || self.is_read_only.load(Ordering::Relaxed)) {
            self.fail_transaction();
            let text = "cannot execute INSERT in a read-only transaction";
            return Err(FakeError::new(DriverClass::Role, Some("25006"), text));
        }
        if first == "commit" && is_reader && self.driver.script.lock().refuses_commits {
            self.is_rolled_back.store(true, Ordering::Relaxed);
            let text = "the server is running with the --read-only option";
            return Err(FakeError::new(DriverClass::Role, Some("HY000"), text));
        }
        let state = if self.is_rolled_back.swap(false, Ordering::Relaxed) { Idle } else { state };
        match first {
            "begin" => {
                self.is_read_only.store(sql.contains("read only"), Ordering::Relaxed);
                self.slot.set_ready(InTransaction);
            }
            "commit" | "rollback" if ends => {
                self.is_read_only.store(false, Ordering::Relaxed);
                self.slot.set_ready(Idle);
            }
            "rollback" => self.slot.set_ready(InTransaction),
            _ => self.slot.set_ready(state),
        }
        Ok(())
    }

    fn fail_transaction(&self) {
        let state = self.slot.transaction();
        self.slot.set_unknown();
        self.slot.set_ready(match state {
            TransactionState::InTransaction => TransactionState::Failed,
            other => other,
        });
    }

    fn answer(&self, sql: &str) -> Result<Table, FakeError> {
        let flag = |yes: bool| Some(if yes { "t" } else { "f" }.to_owned());
        let row = |cells: Vec<Option<String>>| Table::new(vec![String::new(); cells.len()], vec![cells]);
        let dialect = &aurora::POSTGRES;
        if sql == "rollback" {
            self.driver.script.lock().rolled_back += 1;
            return self.execute(sql).map(|()| Table::default());
        }
        self.execute("select")?;
        let is_plain = self.driver.script.lock().is_plain;
        if sql == dialect.role_sql() {
            return Ok(row(vec![flag(self.driver.role(self.name()) == Role::Reader)]));
        }
        if sql.contains("pg_postmaster_start_time") {
            return Ok(row(vec![Some(self.driver.cluster.started(self.name()).to_string())]));
        }
        if sql.contains("rds.extensions") {
            let extensions = (!is_plain).then(|| "aurora_stat_utils,rds_tools".to_owned());
            return Ok(row(vec![extensions, flag(!is_plain), flag(false)]));
        }
        if is_plain {
            return Err(FakeError::new(DriverClass::Other, Some("42883"), "function does not exist"));
        }
        if sql == dialect.whoami_sql() {
            let is_reader = self.driver.role(self.name()) == Role::Reader;
            return Ok(row(vec![Some(self.name().to_owned()), flag(is_reader)]));
        }
        self.place.count();
        Ok(self.driver.cluster.answer(self.name()))
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.slot.mark_ended();
    }
}

impl DriverDialect for FakeDriver {
    const ENGINE: Engine = Engine::Postgres;
    type Connection = FakeConnection;
    type Error = FakeError;
    type Session = FakeSession;

    async fn connect(&self, request: &ConnectRequest) -> Result<FakeConnection, FakeError> {
        let (host, purpose) = (request.host(), request.purpose());
        self.script.lock().connects.push(Dialled { host: host.clone(), purpose, at: Instant::now() });
        let on = if purpose.is_monitoring() { On::Monitor } else { On::Connect };
        let place = self.cluster.enter(host, request.user().unwrap_or(&self.user)).await?;
        self.play(on, place.name()).await?;
        let slot = Arc::clone(request.slot());
        let weak = Arc::downgrade(&slot);
        slot.set_abort(move || {
            if let Some(slot) = weak.upgrade() {
                slot.mark_ended();
            }
        });
        slot.set_ready(TransactionState::Idle);
        place.tell(&slot);
        place.pass().await?;
        let is_plain = self.script.lock().is_plain;
        let startup_role = is_plain.then(|| self.role(place.name()));
        Ok(FakeConnection {
            place,
            slot,
            driver: self.clone(),
            startup_role,
            is_read_only: AtomicBool::default(),
            is_rolled_back: AtomicBool::default(),
            settings: Vec::new(),
        })
    }

    async fn fetch_text(&self, connection: &mut FakeConnection, sql: &str) -> Result<Table, FakeError> {
        connection.ask(sql).await
    }

    async fn ping(&self, connection: &mut FakeConnection) -> Result<(), FakeError> {
        connection.ask("").await.map(drop)
    }

    async fn configure(
        &self,
        connection: &mut FakeConnection,
        session: &FakeSession,
    ) -> Result<(), FakeError> {
        let played = connection.while_open(self.play(On::Configure, connection.name())).await;
        played?;
        connection.settings.clone_from(&session.settings.lock());
        self.script.lock().configured.push(connection.slot.host().clone());
        Ok(())
    }

    fn classify(&self, error: &FakeError) -> DriverClass {
        error.0.class
    }

    fn sqlstate<'e>(&self, error: &'e FakeError) -> Option<&'e str> {
        error.0.sqlstate.as_deref()
    }

    fn slot<'c>(&self, connection: &'c FakeConnection) -> &'c Arc<Slot> {
        &connection.slot
    }

    fn startup_role(&self, connection: &FakeConnection) -> Option<Role> {
        connection.startup_role
    }

    fn error(&self, error: FakeError) -> Error {
        let fault = (*error.0).clone();
        let mut wrapped = if fault.aborted {
            Error::new(ErrorKind::HostUnavailable, fault.message).with_source(error)
        } else {
            Error::driver(fault.class, error)
        };
        if let Some(code) = fault.sqlstate {
            wrapped = wrapped.with_sqlstate(&code);
        }
        if fault.nothing_sent { wrapped.with_nothing_sent() } else { wrapped }
    }
}

/// A logical connection over a [`FakeDriver`]: what the client of an adapter is, without its types and streams.
#[derive(Debug)]
pub struct FakeClient {
    connector: Connector<FakeDriver>,
    logical: Arc<Logical<FakeDriver>>,
    current: Mutex<Arc<FakeConnection>>,
    _cluster: Option<ClusterSession>,
}

impl FakeClient {
    /// Connects.
    ///
    /// # Errors
    /// Those of [`Connector::connect`].
    pub async fn connect(connector: &Connector<FakeDriver>) -> Result<Self> {
        Ok(Self::new(connector, connector.connect().await?, None))
    }

    /// Connects to one host of that role.
    ///
    /// # Errors
    /// Those of [`Connector::connect_to_host`].
    pub async fn connect_to_host(
        connector: &Connector<FakeDriver>,
        host: &HostKey,
        role: Role,
    ) -> Result<Self> {
        Ok(Self::new(connector, connector.connect_to_host(host, role).await?, Some(role)))
    }

    fn new(connector: &Connector<FakeDriver>, connection: FakeConnection, role: Option<Role>) -> Self {
        Self {
            connector: connector.clone(),
            logical: Arc::new(Logical::of_role(Arc::clone(connection.slot()), role)),
            current: Mutex::new(Arc::new(connection)),
            _cluster: connector.cluster_session(),
        }
    }

    /// Sends a query and returns the name of the instance that answered.
    ///
    /// # Errors
    /// Those of the host, as the plugins see them.
    pub async fn query(&self, sql: &str) -> Result<String> {
        self.call(Method::Query, sql).await
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub async fn begin(&self) -> Result<String> {
        self.call(Method::Begin, "begin").await
    }

    /// Commits.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub async fn commit(&self) -> Result<String> {
        self.call(Method::Commit, "commit").await
    }

    /// Makes a call and returns the name of the instance that answered.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub async fn call(&self, method: Method, sql: &str) -> Result<String> {
        let call = Call::new(method, Some(sql), &self.logical, self);
        let exchange = async {
            let now = self.now(&call)?;
            let in_flight = now.slot.enter();
            in_flight.end(match now.run(sql).await {
                Ok(()) => Ok(now.name().to_owned()),
                Err(error) => Err(self.connector.driver().error(error).with_host(now.slot.host())),
            })
        };
        self.connector.pipeline().call(&call, || exchange).await
    }

    /// The connection for the next call: one that waits is put to use first.
    fn now(&self, call: &Call<'_, FakeDriver>) -> Result<Arc<FakeConnection>> {
        if self.logical.has_parked() {
            let change = self.logical.adopt(|connection| *self.current.lock() = Arc::new(connection));
            if let Some(change) = change {
                self.connector.pipeline().connection_changed(&self.logical, &change);
            }
        }
        let now = self.current();
        call.uses(&now.slot);
        if now.slot.has_ended() {
            let mut error = FakeError::ended(&now.slot);
            error.0.nothing_sent = true;
            return Err(self.connector.driver().error(error).with_host(now.slot.host()));
        }
        Ok(now)
    }

    /// The connection in use; a parked one waits for the next call.
    pub fn current(&self) -> Arc<FakeConnection> {
        Arc::clone(&self.current.lock())
    }

    /// What stays when the connection is replaced.
    pub fn logical(&self) -> &Arc<Logical<FakeDriver>> {
        &self.logical
    }
}

impl Ask for FakeClient {
    fn fetch_text<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Table>> {
        Box::pin(async move {
            let now = self.current();
            now.ask(sql)
                .await
                .map_err(|error| self.connector.driver().error(error).with_host(now.slot.host()))
        })
    }
}
