//! A cluster that exists only as a script: hosts with a role, a view of the topology, reachability and delays.
//!
//! It stands where the topology monitor opens its connections ([`Prober`]), speaks the language of Aurora PostgreSQL and
//! counts what it is asked. Meant for a paused clock.
//!
//! ```
//! use aws_wrapper_core::testing::cluster::{FakeCluster, Reach};
//!
//! let fake = FakeCluster::new(&["i-1", "i-2", "i-3"]);
//! fake.set_reach("i-1", Reach::Refuses);
//! fake.promote("i-2");
//! assert_eq!(fake.connects("i-2").len(), 0);
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::dialect::aurora;
use crate::endpoint::HostPattern;
use crate::error::{DriverClass, Error, Result};
use crate::host::{Host, HostKey, Role};
use crate::probe::{MonitorKind, Probe, Prober};
use crate::registry::{EndReason, Slot};
use crate::table::Table;
use crate::topology::cluster::ClusterSeed;
use crate::topology::{Snapshot, TopologySettings};

/// How a host treats those who want to talk to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// It answers.
    Up,
    /// It refuses new connections at once; the old ones are reset.
    Refuses,
    /// It answers nothing, neither on old connections nor on new ones; what waits goes on when that ends.
    Silent,
}

/// The script. Clones are the same cluster.
#[derive(Debug, Clone)]
pub struct FakeCluster {
    state: Arc<Mutex<State>>,
    /// Tells those who wait for a silent host.
    reach: Arc<watch::Sender<()>>,
    domain: &'static str,
}

#[derive(Debug)]
struct State {
    hosts: BTreeMap<String, FakeHost>,
    /// Who is the writer, as an up-to-date view tells.
    writer: String,
    aliases: BTreeMap<String, String>,
    refused_users: BTreeSet<String>,
}

#[derive(Debug)]
struct FakeHost {
    role: Role,
    reach: Reach,
    /// What this host believes, if it is not the truth.
    own_view: Option<View>,
    connect_delay: Duration,
    answer_delay: Duration,
    /// How much longer the first answer of a connection takes.
    warm_up: Duration,
    /// Raised when all connections are reset.
    epoch: u64,
    connects: Vec<Instant>,
    probes: Vec<Instant>,
    open: usize,
    most_open: usize,
    /// Connections of an epoch before this one are never answered again, and never told.
    deaf_before: u64,
    /// When it was started last, in seconds.
    started: u64,
    /// Connections that want to be told when they are reset.
    slots: Vec<Weak<Slot>>,
}

/// A topology as some host sees it.
#[derive(Debug)]
struct View {
    hosts: Vec<String>,
    writer: Option<String>,
}

const PORT: u16 = 5432;

impl FakeCluster {
    /// A cluster of these instances; the first one is the writer.
    ///
    /// # Panics
    /// When there is no instance.
    pub fn new(names: &[&str]) -> Self {
        Self::with_domain(names, "fake.example")
    }

    /// The same in a domain of its own.
    ///
    /// # Panics
    /// When there is no instance.
    pub fn with_domain(names: &[&str], domain: &'static str) -> Self {
        let writer = (*names.first().expect("a cluster has instances")).to_owned();
        let host = |name: &&str| {
            let role = if *name == writer { Role::Writer } else { Role::Reader };
            ((*name).to_owned(), FakeHost::new(role))
        };
        let hosts = names.iter().map(host).collect();
        let (aliases, refused_users) = (BTreeMap::new(), BTreeSet::new());
        let state = State { hosts, writer, aliases, refused_users };
        Self { state: Arc::new(Mutex::new(state)), reach: Arc::default(), domain }
    }

    /// The key of an instance or an alias.
    ///
    /// # Panics
    /// When `name` cannot be part of a host name.
    pub fn key(&self, name: &str) -> HostKey {
        HostKey::new(&format!("{name}.{}", self.domain), PORT).expect("a host name")
    }

    /// How names of instances are made.
    ///
    /// # Panics
    /// Never: the pattern is valid.
    pub fn pattern(&self) -> HostPattern {
        HostPattern::parse(&format!("?.{}", self.domain)).expect("a pattern")
    }

    /// Connects as the user `app`.
    pub fn prober(&self) -> Arc<dyn Prober> {
        self.prober_as("app")
    }

    /// Connects as `user`.
    pub fn prober_as(&self, user: &str) -> Arc<dyn Prober> {
        Arc::new(FakeProber { cluster: self.clone(), user: user.to_owned() })
    }

    /// What a connector would know that was pointed at `name`, an instance or an alias.
    pub fn seed(&self, id: &str, name: &str, prober: &Arc<dyn Prober>) -> ClusterSeed {
        ClusterSeed {
            id: id.to_owned(),
            initial: Arc::new(Snapshot::initial(vec![Host::new(self.key(name), Role::Unknown)])),
            dialect: &aurora::POSTGRES,
            pattern: self.pattern(),
            default_port: PORT,
            settings: TopologySettings::default(),
            prober: Arc::clone(prober),
        }
    }

    /// Another name for an instance, such as an endpoint of the cluster; may be pointed elsewhere later. With a dot in
    /// it, it is a whole host name.
    pub fn alias(&self, alias: &str, name: &str) {
        self.state.lock().aliases.insert(alias.to_owned(), name.to_owned());
    }

    /// How `name` treats those who want to talk to it from now on.
    pub fn set_reach(&self, name: &str, reach: Reach) {
        self.with(name, |host| host.reach = reach);
        self.reach.send_replace(());
        if reach == Reach::Refuses {
            self.kill_connections(name);
        }
    }

    /// Makes `name` the writer; all others become readers, and up-to-date views say so at once.
    pub fn promote(&self, name: &str) {
        let mut state = self.state.lock();
        name.clone_into(&mut state.writer);
        for (other, host) in &mut state.hosts {
            host.role = if other == name { Role::Writer } else { Role::Reader };
        }
    }

    /// Changes only what `name` says of its own role.
    pub fn set_role(&self, name: &str, role: Role) {
        self.with(name, |host| host.role = role);
    }

    /// A new reader; up-to-date views show it at once.
    pub fn add(&self, name: &str) {
        self.state.lock().hosts.insert(name.to_owned(), FakeHost::new(Role::Reader));
    }

    /// `name` goes on telling of the hosts there are now, and that `writer` is the writer.
    pub fn set_outdated_view(&self, name: &str, writer: &str) {
        let hosts = self.state.lock().hosts.keys().cloned().collect();
        self.with(name, |host| host.own_view = Some(View { hosts, writer: Some(writer.to_owned()) }));
    }

    /// `name` tells of these hosts, whatever the truth; the first is the writer. None at all: it shows no topology.
    pub fn set_view(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.with(name, |host| host.own_view = Some(View { writer: hosts.first().cloned(), hosts }));
    }

    /// `name` tells the truth again.
    pub fn update_view(&self, name: &str) {
        self.with(name, |host| host.own_view = None);
    }

    /// How long connecting to `name` takes, and how long an answer of it; half of that is the way there.
    pub fn set_delays(&self, name: &str, connect: Duration, answer: Duration) {
        self.with(name, |host| (host.connect_delay, host.answer_delay) = (connect, answer));
    }

    /// How much longer the first answer on a new connection to `name` takes than those that follow.
    pub fn set_warm_up(&self, name: &str, warm_up: Duration) {
        self.with(name, |host| host.warm_up = warm_up);
    }

    /// Resets all connections to `name`; new ones are welcome.
    pub fn kill_connections(&self, name: &str) {
        self.end_connections(name, &EndReason::new(DriverClass::Network, None, "connection reset by peer"));
    }

    /// Starts `name` again behind a path that lets nothing through: old connections hang and are not told, new ones are
    /// welcome.
    pub fn restart_unnoticed(&self, name: &str) {
        self.with(name, |host| {
            host.epoch += 1;
            host.deaf_before = host.epoch;
            host.started += 60;
            host.slots.clear();
        });
        self.reach.send_replace(());
    }

    /// When `name` was started, in seconds.
    pub(super) fn started(&self, name: &str) -> u64 {
        self.with(name, |host| host.started)
    }

    /// Ends all connections to `name` for `reason`; new ones are welcome.
    pub fn end_connections(&self, name: &str, reason: &EndReason) {
        let slots = self.with(name, |host| {
            host.epoch += 1;
            std::mem::take(&mut host.slots)
        });
        for slot in slots.iter().filter_map(Weak::upgrade) {
            slot.record_end(reason.clone());
            slot.mark_ended();
        }
    }

    /// Whether `user` is let in.
    pub fn set_login(&self, user: &str, accepted: bool) {
        let mut state = self.state.lock();
        if accepted {
            state.refused_users.remove(user);
        } else {
            state.refused_users.insert(user.to_owned());
        }
    }

    /// When somebody tried to connect to `name`.
    pub fn connects(&self, name: &str) -> Vec<Instant> {
        self.with(name, |host| host.connects.clone())
    }

    /// When somebody asked `name` a question.
    pub fn probes(&self, name: &str) -> Vec<Instant> {
        self.with(name, |host| host.probes.clone())
    }

    /// How many connections to `name` there are.
    pub fn open(&self, name: &str) -> usize {
        self.with(name, |host| host.open)
    }

    /// How many connections to `name` there were at most.
    pub fn most_open(&self, name: &str) -> usize {
        self.with(name, |host| host.most_open)
    }

    /// What `name` says of its own role.
    pub fn role(&self, name: &str) -> Role {
        self.with(name, |host| host.role)
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut FakeHost) -> T) -> T {
        let mut state = self.state.lock();
        act(state.hosts.get_mut(name).expect("an instance of the cluster"))
    }

    /// Waits as long as `name` is silent.
    async fn heard_of(&self, name: &str) -> Reach {
        let mut changes = self.reach.subscribe();
        loop {
            let reach = self.with(name, |host| host.reach);
            if reach != Reach::Silent || changes.changed().await.is_err() {
                return reach;
            }
        }
    }

    /// The instance behind a host name.
    fn instance(&self, host: &HostKey) -> Option<String> {
        let state = self.state.lock();
        if let Some(name) = state.aliases.get(host.host()) {
            return Some(name.clone());
        }
        let label = host.host().strip_suffix(self.domain)?.strip_suffix('.')?;
        let name = state.aliases.get(label).map_or(label, String::as_str);
        state.hosts.contains_key(name).then(|| name.to_owned())
    }

    /// What `name` answers now, in the columns of Aurora PostgreSQL's probe.
    pub(super) fn answer(&self, name: &str) -> Table {
        let state = self.state.lock();
        let host = &state.hosts[name];
        let flag = |yes: bool| Some(if yes { "t" } else { "f" }.to_owned());
        let itself = [Some(name.to_owned()), flag(host.role != Role::Writer)];
        let truth = View { hosts: state.hosts.keys().cloned().collect(), writer: Some(state.writer.clone()) };
        let view = host.own_view.as_ref().unwrap_or(&truth);
        let row = |other: &String| {
            let rest = [Some(other.clone()), flag(Some(other) == view.writer.as_ref()), None, None, None];
            [itself.as_slice(), &rest].concat()
        };
        let mut rows: Vec<_> = view.hosts.iter().map(row).collect();
        if rows.is_empty() {
            rows.push([itself.as_slice(), &[const { None }; 5]].concat());
        }
        Table::new(vec![String::new(); 7], rows)
    }
}

impl FakeHost {
    fn new(role: Role) -> Self {
        Self {
            role,
            reach: Reach::Up,
            own_view: None,
            connect_delay: Duration::ZERO,
            answer_delay: Duration::ZERO,
            warm_up: Duration::ZERO,
            epoch: 0,
            connects: Vec::new(),
            probes: Vec::new(),
            open: 0,
            most_open: 0,
            deaf_before: 0,
            started: 1_700_000_000,
            slots: Vec::new(),
        }
    }
}

impl FakeCluster {
    /// Lets `user` in at `host`, if the script wants it so.
    pub(super) async fn enter(&self, host: &HostKey, user: &str) -> Result<FakeProbe> {
        let unknown = || Error::driver(DriverClass::Network, format!("no such host: {host}"));
        let name = self.instance(host).ok_or_else(unknown)?;
        let delay = self.with(&name, |host| {
            host.connects.push(Instant::now());
            host.connect_delay
        });
        wait(delay).await;
        if self.heard_of(&name).await == Reach::Refuses {
            return Err(Error::driver(DriverClass::Network, "connection refused"));
        }
        if self.state.lock().refused_users.contains(user) {
            let message = format!("password authentication failed for user \"{user}\"");
            return Err(Error::driver(DriverClass::Login, message).with_sqlstate("28P01"));
        }
        let epoch = self.with(&name, |host| {
            host.open += 1;
            host.most_open = host.most_open.max(host.open);
            host.epoch
        });
        Ok(FakeProbe { cluster: self.clone(), name, epoch, is_warm: false })
    }
}

#[derive(Debug)]
struct FakeProber {
    cluster: FakeCluster,
    user: String,
}

#[async_trait]
impl Prober for FakeProber {
    async fn connect(
        &self,
        host: &HostKey,
        _monitor: MonitorKind,
        _deadline: Instant,
    ) -> Result<Box<dyn Probe>> {
        Ok(Box::new(self.cluster.enter(host, &self.user).await?))
    }
}

/// A place at a host, given back when dropped.
#[derive(Debug)]
pub(super) struct FakeProbe {
    cluster: FakeCluster,
    name: String,
    epoch: u64,
    is_warm: bool,
}

impl FakeProbe {
    /// The instance.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How long an answer takes, now that one is asked for.
    pub(super) fn answer_delay(&self) -> Duration {
        self.cluster.with(&self.name, |host| host.answer_delay)
    }

    /// Notes that the instance is asked for the topology.
    pub(super) fn count(&self) {
        self.cluster.with(&self.name, |host| host.probes.push(Instant::now()));
    }

    /// Tells `slot` when the connection is reset.
    pub(super) fn tell(&self, slot: &Arc<Slot>) {
        self.cluster.with(&self.name, |host| {
            host.slots.retain(|slot| slot.strong_count() > 0);
            host.slots.push(Arc::downgrade(slot));
        });
    }

    /// Fails if the connection was reset, waits as long as the host is silent.
    pub(super) async fn pass(&self) -> Result<()> {
        self.cluster.heard_of(&self.name).await;
        if self.cluster.with(&self.name, |host| self.epoch < host.deaf_before) {
            std::future::pending::<()>().await;
        }
        if self.has_ended() {
            return Err(Error::driver(DriverClass::Network, "connection reset by peer"));
        }
        Ok(())
    }
}

#[async_trait]
impl Probe for FakeProbe {
    async fn fetch_text(&mut self, _sql: &str) -> Result<Table> {
        self.count();
        let is_warm = std::mem::replace(&mut self.is_warm, true);
        let warm_up =
            if is_warm { Duration::ZERO } else { self.cluster.with(&self.name, |host| host.warm_up) };
        let delay = self.answer_delay() + warm_up;
        wait(delay / 2).await;
        self.pass().await?;
        let answer = self.cluster.answer(&self.name);
        wait(delay / 2).await;
        self.pass().await?;
        Ok(answer)
    }

    async fn ping(&mut self) -> Result<()> {
        wait(self.answer_delay()).await;
        self.pass().await
    }

    fn has_ended(&self) -> bool {
        self.cluster.with(&self.name, |host| host.epoch != self.epoch)
    }
}

impl Drop for FakeProbe {
    fn drop(&mut self) {
        self.cluster.with(&self.name, |host| host.open -= 1);
    }
}

/// A sleep of nothing would still round up to a tick of the clock.
pub(super) async fn wait(delay: Duration) {
    if delay > Duration::ZERO {
        sleep(delay).await;
    } else {
        tokio::task::yield_now().await;
    }
}
