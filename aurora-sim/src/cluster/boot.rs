//! From a description to a running cluster.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustix::fs::Access;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify};

use super::ClusterBuilder;
use super::inner::{Host, Inner, Instance, State};
use crate::database::{Common, Product};
use crate::engine::Engine;
use crate::error::{Attempt, Error, Result};
use crate::files::{copy, new_owned_folder, open_to};
use crate::keeper::Keeper;
use crate::mysql;
use crate::names::{HostNames, Names};
use crate::postgres;
use crate::programs::ServerUser;
use crate::proxy::Proxy;
use crate::tasks::Tasks;
use crate::template;
use crate::tls::TlsFiles;

/// Servers listen on the addresses of their proxies plus this.
const SERVER_OFFSET: u8 = 100;

/// Networks of loopback addresses to try; another cluster seldom has one.
const NETWORK_TRIES: usize = 200;

/// Free memory from which on a cluster lives in it. An instance starts with 28 MB and seldom has more than 200.
const MEMORY_WANTED: u64 = 2 << 30;

/// Everything is up within a second on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Starts a cluster. Whatever exists when this fails or is dropped goes away with its owner.
pub(super) async fn boot(options: ClusterBuilder, runtime: Handle) -> Result<Arc<Inner>> {
    let installed = find(&options)?;
    let user = installed.user().cloned();
    let tasks = Tasks::new(runtime);
    let mut unless_done = EndTasks(Some(tasks.clone()));
    let folder = new_folder(options.folder.as_deref())?;
    let keeper = Keeper::start(&folder)?;
    open_to(&folder, None)?;
    if keeper.isolation() == crate::keeper::Isolation::Bare {
        tracing::info!("no namespaces here: servers are ended one by one");
    }

    let scratch = folder.join("scratch");
    new_owned_folder(&scratch, user.as_ref())?;
    new_owned_folder(&folder.join("state"), None)?;
    let cache = options.cache.clone().unwrap_or_else(template::user_cache);
    let host_names = HostNames::new(&options.name, &options.uid);
    let (template, tls) = tokio::try_join!(installed.template(&cache, &scratch), async {
        if !options.tls {
            return Ok(None);
        }
        TlsFiles::make(&folder.join("tls"), &host_names, user.as_ref()).await.map(Some)
    })?;

    let hosts = reserve_hosts(&options, &folder, &tasks)?;
    let instances = hosts.iter().map(|_| Instance::default()).collect();
    let common = Common {
        sites: hosts.iter().map(Host::site).collect(),
        state: folder.join("state"),
        tls: tls.as_ref().map(|tls| tls.folder.clone()),
        settings: options.settings.clone(),
        tasks: tasks.clone(),
    };
    let inner = Arc::new(Inner {
        state: Mutex::new(State { writer: 0, instances, announced: HashMap::new(), last_failover: None }),
        options,
        database: installed.servers(template.clone(), common),
        folder,
        keeper,
        tasks,
        host_names,
        names: Names::new(),
        hosts,
        tls,
        pins: Arc::default(),
        attention: Notify::new(),
        writer: AtomicUsize::new(0),
    });
    inner.first_start(&template, user.as_ref()).await?;
    inner.tasks.spawn(inner.clone().supervise());
    inner.until_complete(START_DEADLINE).await?;
    unless_done.0 = None;
    Ok(inner)
}

impl Inner {
    /// Gives every instance a copy of the template and starts all at once. The template was shut down in order, so
    /// a copy of it is as good a start for a reader as a base backup of the writer.
    async fn first_start(&self, template: &Path, user: Option<&ServerUser>) -> Result<()> {
        let mut copies = tokio::task::JoinSet::new();
        for host in &self.hosts {
            new_owned_folder(&host.folder, user)?;
            let (from, to) = (template.to_owned(), host.data());
            copies.spawn(async move { copy(&from, &to).await });
        }
        while let Some(copied) = copies.join_next().await {
            copied.map_err(|_| Error::stopped())??;
        }
        let mut state = self.state.lock().await;
        self.announce(&mut state, Duration::ZERO)?;
        for i in 0..self.hosts.len() {
            self.spawn(&mut state, i)?;
        }
        for i in 0..self.hosts.len() {
            self.until_ready(&mut state, i).await?;
        }
        self.announce(&mut state, Duration::ZERO)
    }
}

/// Looks for the database product on this machine.
fn find(options: &ClusterBuilder) -> Result<Box<dyn Product>> {
    match options.engine {
        Engine::MySql => Ok(Box::new(mysql::Installed::find(options.mysql.as_deref(), options.flavor)?)),
        Engine::Postgres => {
            Ok(Box::new(postgres::Installed::find(options.postgres.as_deref(), options.flavor)?))
        }
    }
}

/// Ends the tasks of a start that failed.
struct EndTasks(Option<Tasks>);

impl Drop for EndTasks {
    fn drop(&mut self) {
        if let Some(tasks) = self.0.take() {
            tasks.cancel();
        }
    }
}

/// Memory if there is plenty: making thousands of files there takes an eighth of the time.
fn temporary_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |system| system.f_bavail * system.f_frsize);
    if free >= MEMORY_WANTED && rustix::fs::access(memory, Access::WRITE_OK).is_ok() {
        return memory.to_owned();
    }
    std::env::temp_dir()
}

fn new_folder(wanted: Option<&Path>) -> Result<PathBuf> {
    let unique =
        || temporary_folder().join(format!("aurora-sim-{}-{:x}", std::process::id(), fastrand::u32(..)));
    let folder = wanted.map_or_else(unique, Path::to_owned);
    fs::create_dir_all(&folder).attempt(|| format!("create {}", folder.display()))?;
    let mut entries = fs::read_dir(&folder).attempt(|| format!("read {}", folder.display()))?;
    if entries.next().is_some() {
        return Err(Error::invalid(format!("{} is not empty", folder.display())));
    }
    folder.canonicalize().attempt(|| format!("find {}", folder.display()))
}

/// Takes a network 127.a.b.0/24 in which all addresses that we need are free. Holding the proxies' addresses keeps
/// other clusters out.
fn reserve_hosts(options: &ClusterBuilder, folder: &Path, tasks: &Tasks) -> Result<Vec<Host>> {
    let mut last = None;
    for _ in 0..NETWORK_TRIES {
        let network = [fastrand::u8(2..=254), fastrand::u8(..)];
        match reserve_network(network, options, folder, tasks) {
            Ok(hosts) => return Ok(hosts),
            Err(error) => last = Some(error),
        }
    }
    let error = last.expect("there was at least one try");
    Err(error).attempt(|| format!("find free loopback addresses for port {}", options.chosen_port()))
}

fn reserve_network(
    [a, b]: [u8; 2],
    options: &ClusterBuilder,
    folder: &Path,
    tasks: &Tasks,
) -> std::io::Result<Vec<Host>> {
    let at = |last: u8| SocketAddr::from((IpAddr::V4(Ipv4Addr::new(127, a, b, last)), options.chosen_port()));
    let count = u8::try_from(options.instances).expect("at most six instances");
    for n in 1..=count {
        drop(TcpListener::bind(at(SERVER_OFFSET + n))?);
    }
    (1..=count)
        .map(|n| {
            let name = format!("instance-{n}");
            let (address, server) = (at(n), at(SERVER_OFFSET + n));
            Ok(Host {
                address,
                server,
                folder: folder.join(&name),
                proxy: Proxy::bind(address, server, tasks)?,
                session_id: format!("{:032x}", fastrand::u128(..)),
                name,
            })
        })
        .collect()
}
