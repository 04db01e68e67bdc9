//! A cluster and what can be done to it.
//!
//! [`Cluster`] is a thin handle: every command runs as a task on the cluster's own runtime, so a caller that drops
//! its future leaves no half-done failover behind, and a busy or paused runtime of the caller does not slow the
//! proxies down.

mod boot;
mod builder;
mod failover;
mod inner;
mod lifecycle;
mod status;
mod supervisor;
mod switchover;
mod view;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

pub use self::builder::ClusterBuilder;
pub use self::failover::{FailoverOptions, FailoverReport};
pub use self::status::{InstanceStatus, Role, Status};

use self::inner::Inner;
use crate::engine::Engine;
use crate::error::{Attempt, Error, Result};
use crate::names::Names;
use crate::proxy::NetworkFault;

/// How long tasks may need to end at shutdown; none waits for anything but the network.
const TASKS_DEADLINE: Duration = Duration::from_secs(5);

/// A running cluster. Dropping it ends every process and deletes every file; that blocks the thread for about 0.1 s,
/// so prefer [`shutdown`](Self::shutdown) in async code.
///
/// Instances are named `instance-1`, `instance-2` and so on; `instance-1` is the first writer. Methods that take an
/// instance fail with [`ErrorKind::UnknownInstance`](crate::ErrorKind::UnknownInstance) for any other name.
///
/// Users: `app` with password `secret`, owner of the database `app`; superuser `postgres` or `root` without password; on
/// MySQL also `iam`, who logs in with a token.
#[derive(Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
    runtime: OwnRuntime,
}

impl Cluster {
    /// Describes a cluster to start.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    async fn boot(options: ClusterBuilder) -> Result<Self> {
        let runtime = OwnRuntime::start()?;
        let inner = runtime.run(boot::boot(options, runtime.handle())).await?;
        Ok(Self { inner, runtime })
    }

    /// Name of the cluster, such as `my-cluster`.
    pub fn name(&self) -> &str {
        &self.inner.options.name
    }

    /// Names of all instances, in order.
    pub fn instance_names(&self) -> Vec<String> {
        self.inner.hosts.iter().map(|host| host.name.clone()).collect()
    }

    /// Name of the instance that is the writer now; during a failover still the old one.
    pub fn writer(&self) -> String {
        self.inner.hosts[self.inner.writer()].name.clone()
    }

    /// Names of all other instances, whether they run or not.
    pub fn readers(&self) -> Vec<String> {
        let writer = self.writer();
        self.instance_names().into_iter().filter(|name| *name != writer).collect()
    }

    /// Host name that leads to the writer.
    pub fn endpoint(&self) -> String {
        self.inner.host_names.cluster()
    }

    /// Host name that leads to one of the readers, or to the writer when there is none.
    pub fn reader_endpoint(&self) -> String {
        self.inner.host_names.reader()
    }

    /// Host name of one instance; names it does not know give a host name that does not resolve.
    pub fn instance_endpoint(&self, instance: &str) -> String {
        self.inner.host_names.instance(instance)
    }

    /// What the host names mean; the stand-in for DNS.
    pub fn names(&self) -> Names {
        self.inner.names.clone()
    }

    /// The database product of the servers.
    pub fn engine(&self) -> Engine {
        self.inner.options.engine
    }

    /// Port of every instance; the engine's default unless the builder says otherwise.
    pub fn port(&self) -> u16 {
        self.inner.options.chosen_port()
    }

    /// Where a server itself listens, past its fault proxy: for measuring, and for looking at a server behind a fault.
    ///
    /// # Panics
    /// When no instance has this name.
    pub fn direct_address(&self, instance: &str) -> SocketAddr {
        let i = self.inner.index(instance).expect("the instance exists");
        self.inner.hosts[i].server
    }

    /// Certificate of the authority that vouches for the servers, with TLS only.
    pub fn ca_pem_path(&self) -> Option<PathBuf> {
        self.inner.tls.as_ref().map(|tls| tls.authority.clone())
    }

    /// Folder of the cluster: a log and a data directory for each instance.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Kills a server and all its processes at once (SIGKILL). Nothing is promoted, nothing restarts by itself.
    pub async fn kill(&self, instance: &str) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| inner.kill(i).await).await
    }

    /// Stops a server in order (PostgreSQL tells its clients so, 57P01), and starts it in its role.
    pub async fn restart(&self, instance: &str) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| inner.restart(i).await).await
    }

    /// Starts a server that is down, with a fresh copy of the writer's data where its own is of no use. Does nothing
    /// when it runs.
    pub async fn start(&self, instance: &str) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| inner.start(i).await).await
    }

    /// Stops a server's processes in their tracks (SIGSTOP): the host accepts connections, nobody answers.
    pub async fn freeze(&self, instance: &str) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| inner.freeze(i).await).await
    }

    /// Ends [`freeze`](Self::freeze). Clients of a server that was replaced in the meantime get a reset.
    pub async fn thaw(&self, instance: &str) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| inner.thaw(i).await).await
    }

    /// Lets nothing pass between clients and an instance, on live and on new connections; connecting still succeeds.
    /// Replication goes on.
    pub async fn blackhole(&self, instance: &str) -> Result<()> {
        self.network(instance, NetworkFault::BlackHole).await
    }

    /// As [`blackhole`](Self::blackhole), and connecting times out too.
    pub async fn unreachable(&self, instance: &str) -> Result<()> {
        self.network(instance, NetworkFault::Unreachable).await
    }

    /// Refuses new connections to an instance; live ones go on.
    pub async fn refuse(&self, instance: &str) -> Result<()> {
        self.network(instance, NetworkFault::Refuse).await
    }

    /// Ends every network fault of an instance, latency included. Bytes that were held back arrive; clients of a
    /// server that was replaced in the meantime get a reset.
    pub async fn heal(&self, instance: &str) -> Result<()> {
        self.network(instance, NetworkFault::None).await
    }

    /// Resets (RST) every live connection to an instance; new ones work.
    pub async fn reset(&self, instance: &str) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| {
            inner.hosts[i].proxy.reset().await;
            Ok(())
        })
        .await
    }

    /// Delays everything that goes to an instance by this much, and everything that comes back too.
    pub async fn latency(&self, instance: &str, each_way: Duration) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| {
            inner.hosts[i].proxy.set_latency(each_way, each_way);
            Ok(())
        })
        .await
    }

    /// Number of connections that clients hold to an instance.
    ///
    /// # Panics
    /// When no instance has this name.
    pub fn proxy_connections(&self, instance: &str) -> usize {
        let i = self.inner.index(instance).expect("the instance exists");
        self.inner.hosts[i].proxy.connections()
    }

    /// Kills the writer and makes a reader the writer. Returns when the new writer takes writes and the other readers
    /// follow it; DNS and the old writer follow later, see [`FailoverOptions`].
    ///
    /// Nothing that was acknowledged is lost, and the old writer can never accept a write again. A writer that is
    /// frozen or in a black hole stays silent towards its clients until [`thaw`](Self::thaw) or [`heal`](Self::heal).
    pub async fn failover(&self, options: FailoverOptions) -> Result<FailoverReport> {
        self.run(async move |inner| inner.failover(options).await).await
    }

    /// Makes another instance the writer and leaves the old one running: its clients stay connected, read on and get
    /// read-only errors (25006 or 1290) for writes, and it says that it is a reader. `to` is the new writer; by default the
    /// reader with the most recent data.
    ///
    /// Only sessions in the middle of a transaction that has written lose their connection. The old writer of
    /// MySQL is a real reader at once; that of PostgreSQL stands still until [`settle`](Self::settle) makes it one.
    pub async fn switchover(&self, to: Option<&str>) -> Result<FailoverReport> {
        let to = to.map(|instance| self.inner.index(instance)).transpose()?;
        self.run(async move |inner| inner.switchover(to).await).await
    }

    /// Makes a writer that a switchover has demoted a real reader: its clients lose their connections, it gets a
    /// fresh copy of the data. Does nothing to other instances.
    pub async fn settle(&self, instance: &str) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| inner.settle(i).await).await
    }

    /// Roles, processes, faults and names at this moment.
    pub async fn status(&self) -> Result<Status> {
        self.run(async move |inner| Ok(inner.status().await)).await
    }

    /// Makes a name of this cluster lead to an instance, until it is set again; `None` lets it follow the roles.
    /// `name` is a host name, or the part before its first dot with `-ro` for the reader name (`my-cluster-ro`).
    pub async fn set_dns(&self, name: &str, instance: Option<&str>) -> Result<()> {
        let host = self.inner.full_name(name)?;
        let target = instance.map(|instance| self.inner.index(instance)).transpose()?;
        self.run(async move |inner| inner.pin(host, target).await).await
    }

    /// Makes one instance report the topology of this moment whatever happens, or the real one again.
    pub async fn set_stale_topology(&self, instance: &str, stale: bool) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| {
            crate::topology::set_stale(&inner.state_folder(), &inner.hosts[i].name, stale)
        })
        .await
    }

    /// Kills all servers at once.
    pub async fn down_all(&self) -> Result<()> {
        self.run(async move |inner| inner.down_all().await).await
    }

    /// Starts all servers that are down, in the roles they had.
    pub async fn up_all(&self) -> Result<()> {
        self.run(async move |inner| inner.up_all().await).await
    }

    /// Waits until every instance runs and every reader follows the writer.
    pub async fn wait_until_complete(&self, deadline: Duration) -> Result<()> {
        self.run(async move |inner| inner.until_complete(deadline).await).await
    }

    /// Ends every process, closes every socket and deletes every file.
    pub async fn shutdown(mut self) {
        let inner = self.inner.clone();
        inner.tasks.cancel();
        let _ = tokio::time::timeout(TASKS_DEADLINE, inner.tasks.join()).await;
        let _ = self.runtime.handle().spawn_blocking(move || inner.close()).await;
        self.runtime.stop();
    }

    async fn network(&self, instance: &str, fault: NetworkFault) -> Result<()> {
        let i = self.inner.index(instance)?;
        self.run(async move |inner| inner.set_network(i, fault).await).await
    }

    async fn run<T, F>(&self, command: impl FnOnce(Arc<Inner>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let command = command(self.inner.clone());
        self.inner.tasks.spawn(async move {
            let _ = answer.send(command.await);
        });
        answered.await.map_err(|_| Error::stopped())?
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.inner.tasks.cancel();
        self.runtime.stop();
        self.inner.close();
    }
}

/// The runtime of one cluster. It may be dropped anywhere, also in async code.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("aurora-sim")
            .enable_all()
            .build()
            .attempt(|| "start a runtime".to_owned())?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> tokio::runtime::Handle {
        self.0.as_ref().expect("the runtime lives as long as the cluster").handle().clone()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.handle().spawn(work).await.map_err(|_| Error::stopped())?
    }

    /// Ends the runtime and waits for its tasks, on a thread where waiting is allowed.
    fn stop(&mut self) {
        if let Some(runtime) = self.0.take() {
            let _ = std::thread::spawn(move || runtime.shutdown_timeout(TASKS_DEADLINE)).join();
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        self.stop();
    }
}
