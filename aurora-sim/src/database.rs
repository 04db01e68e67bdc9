//! What a cluster asks of its database servers, whichever product they are.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustix::process::Signal;

use crate::error::Result;
use crate::keeper::Server;
use crate::programs::ServerUser;
use crate::tasks::Tasks;

/// Where the server of one instance is.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Name of the instance.
    pub(crate) name: String,
    /// Where the server listens.
    pub(crate) server: SocketAddr,
    /// Where clients connect.
    pub(crate) public: IpAddr,
    /// Folder of the data directory.
    pub(crate) data: PathBuf,
}

/// What the servers of one cluster have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) sites: Vec<Site>,
    /// Folder of the state that functions read.
    pub(crate) state: PathBuf,
    /// Folder with `ca.pem`, `server.crt` and `server.key`.
    pub(crate) tls: Option<PathBuf>,
    /// Further settings of all servers.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) tasks: Tasks,
}

/// A database product, as it was found on this machine.
#[async_trait]
pub(crate) trait Product: Send + Sync {
    /// The user that servers run as, when we are root.
    fn user(&self) -> Option<&ServerUser>;

    /// The data directory that every server starts from; made when it is not in the cache. `scratch` is a folder that
    /// the server user may write to.
    async fn template(&self, cache: &Path, scratch: &Path) -> Result<PathBuf>;

    /// The servers of one cluster.
    fn servers(self: Box<Self>, template: PathBuf, common: Common) -> Box<dyn Database>;
}

/// What an instance has to be. Instances are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Duty {
    /// The writer, and the readers whose copy every commit waits for.
    Writer { in_step: Vec<usize> },
    /// A reader, and the instance that it copies.
    Reader { writer: usize },
    /// A former writer that still runs, and may not write. Until the new one has taken over, its last commits wait for
    /// the same readers as before.
    Demoted { in_step: Vec<usize> },
}

/// The database servers of one cluster. Processes are started and ended by the cluster; this says how, and talks to them.
#[async_trait]
pub(crate) trait Database: Debug + Send + Sync {
    /// Writes what a server reads at its start, and gives the words that start it.
    fn prepare(&self, i: usize, duty: &Duty) -> Result<Vec<String>>;

    /// The signal for an orderly shutdown that does not wait for clients.
    fn stop_signal(&self) -> Signal;

    /// What the product's own functions call an instance.
    fn resource_id(&self, i: usize) -> String;

    /// Whether a server takes statements.
    async fn answers(&self, i: usize) -> Result<()>;

    /// Gives a server that has just started what it could not read from files.
    async fn begin(&self, i: usize, duty: &Duty) -> Result<()>;

    /// Closes our own connection to a server.
    async fn forget(&self, i: usize);

    /// Makes a reader that runs follow another writer. False when it cannot: it has data that the writer does not have.
    async fn follow(&self, i: usize, writer: usize, process: Server) -> Result<bool>;

    /// Instances that copy the writer at this moment.
    async fn followers(&self, writer: usize) -> Result<Vec<usize>>;

    /// Makes the writer's commits wait for these readers, from now on. `process` is absent when it does not answer.
    async fn wait_for(&self, writer: usize, in_step: &[usize], process: Option<Server>) -> Result<()>;

    /// How far the writer is, for [`have_received`](Self::have_received).
    async fn written(&self, writer: usize) -> Result<String>;

    /// Which of these readers count for commits and have everything up to `mark`.
    async fn have_received(&self, writer: usize, readers: &[usize], mark: &str) -> Result<Vec<usize>>;

    /// How much a reader has received, as a number that grows.
    async fn received(&self, reader: usize) -> Result<u64>;

    /// Makes a reader a writer and returns when it takes writes.
    async fn promote(&self, reader: usize) -> Result<()>;

    /// Whether a writer that runs can become a reader without a restart.
    fn turns_around(&self) -> bool;

    /// Makes the writer read-only and waits until `new` has everything.
    async fn close_writes(&self, old: usize, new: usize, in_step: &[usize], process: Server) -> Result<()>;

    /// Undoes [`close_writes`](Self::close_writes), also when that has failed half-way.
    async fn reopen_writes(&self, old: usize, in_step: &[usize], process: Server) -> Result<()>;

    /// What remains to be done to the old writer after the new one was promoted.
    async fn seal(&self, old: usize, process: Server) -> Result<()>;

    /// Gives an instance that is down data that it can follow the writer from.
    async fn renew(&self, i: usize, writer: usize) -> Result<()>;

    /// How far a server is, as its product shows it.
    async fn position(&self, i: usize, reader: bool) -> Result<Option<String>>;
}
