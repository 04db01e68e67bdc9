//! What a cluster is made of, and its state.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::ClusterBuilder;
use super::failover::FailoverReport;
use crate::database::{Database, Duty, Site};
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::{Keeper, Server};
use crate::names::{HostNames, Names};
use crate::proxy::Proxy;
use crate::tasks::Tasks;
use crate::tls::TlsFiles;

/// Everything of one cluster. What never changes stands here, what changes in [`State`].
#[derive(Debug)]
pub(crate) struct Inner {
    pub(super) options: ClusterBuilder,
    pub(super) database: Box<dyn Database>,
    pub(super) folder: PathBuf,
    pub(super) keeper: Keeper,
    pub(super) tasks: Tasks,
    pub(super) host_names: HostNames,
    pub(super) names: Names,
    pub(super) hosts: Vec<Host>,
    pub(super) tls: Option<TlsFiles>,
    /// One command at a time; a background copy of data does not hold it.
    pub(super) state: Mutex<State>,
    /// Names set by hand, which do not follow the roles.
    pub(super) pins: Arc<parking_lot::Mutex<HashMap<String, usize>>>,
    /// Wakes the supervisor.
    pub(super) attention: Notify,
    pub(super) writer: AtomicUsize,
}

/// One instance's unchanging part.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    /// Where clients connect: the proxy.
    pub(super) address: SocketAddr,
    /// Where the server listens.
    pub(super) server: SocketAddr,
    pub(super) folder: PathBuf,
    pub(super) proxy: Proxy,
    pub(super) session_id: String,
}

impl Host {
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(super) fn site(&self) -> Site {
        Site { name: self.name.clone(), server: self.server, public: self.address.ip(), data: self.data() }
    }
}

/// The changing part of a cluster.
#[derive(Debug)]
pub(super) struct State {
    pub(super) writer: usize,
    pub(super) instances: Vec<Instance>,
    /// What each name will mean once DNS has followed.
    pub(super) announced: HashMap<String, Vec<IpAddr>>,
    pub(super) last_failover: Option<FailoverReport>,
}

/// The changing part of an instance.
#[expect(
    clippy::struct_excessive_bools,
    reason = "faults are independent of each other: any combination occurs"
)]
#[derive(Debug, Default)]
pub(super) struct Instance {
    pub(super) server: Option<Server>,
    pub(super) frozen: bool,
    /// A former writer that runs on, read-only, since a switchover.
    pub(super) demoted: bool,
    /// The writer's commits wait for this reader.
    pub(super) in_step: bool,
    /// It has everything that the writer has acknowledged; a writer that is down acknowledges nothing more.
    pub(super) complete: bool,
    /// When a running reader was last told to follow the writer; it must be in step soon after.
    pub(super) follows_since: Option<Instant>,
    /// Its data is not a prefix of the writer's: only a fresh copy helps.
    pub(super) outdated: bool,
    /// A fresh copy is being made.
    pub(super) rebuilding: bool,
    /// Its server ended while clients could not hear of it: they get a reset when they can.
    pub(super) owes_reset: bool,
    /// When it went down.
    pub(super) last_seen: Option<SystemTime>,
}

impl Instance {
    pub(super) fn is_up(&self) -> bool {
        self.server.is_some()
    }

    /// Runs and answers us.
    pub(super) fn is_responsive(&self) -> bool {
        self.is_up() && !self.frozen
    }
}

impl Inner {
    pub(super) fn index(&self, instance: &str) -> Result<usize> {
        let position = self.hosts.iter().position(|host| host.name == instance);
        position.ok_or_else(|| ErrorKind::UnknownInstance(instance.to_owned()).into())
    }

    pub(super) fn writer(&self) -> usize {
        self.writer.load(Ordering::SeqCst)
    }

    pub(super) fn state_folder(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Full host name of a name of this cluster that may be short.
    pub(super) fn full_name(&self, name: &str) -> Result<String> {
        let all = [self.host_names.cluster(), self.host_names.reader()];
        let instances = self.hosts.iter().map(|host| self.host_names.instance(&host.name));
        let short_reader = format!("{}-ro", self.options.name);
        if name == short_reader {
            return Ok(self.host_names.reader());
        }
        all.into_iter()
            .chain(instances)
            .find(|host| host == name || host.split('.').next() == Some(name))
            .ok_or_else(|| Error::invalid(format!("{name:?} is not a name of this cluster")))
    }

    /// Other instances than the writer that run.
    pub(super) fn running_readers(state: &State) -> Vec<usize> {
        (0..state.instances.len()).filter(|&i| i != state.writer && state.instances[i].is_up()).collect()
    }

    /// What an instance has to be when it starts.
    pub(super) fn duty(state: &State, i: usize) -> Duty {
        if state.instances[i].demoted {
            Duty::Demoted { in_step: if i == state.writer { Self::in_step(state) } else { Vec::new() } }
        } else if i == state.writer {
            Duty::Writer { in_step: Self::in_step(state) }
        } else {
            Duty::Reader { writer: state.writer }
        }
    }

    /// The readers whose copy every commit waits for.
    pub(super) fn in_step(state: &State) -> Vec<usize> {
        (0..state.instances.len()).filter(|&i| state.instances[i].in_step).collect()
    }

    /// Ends the servers and deletes the files. Blocks.
    pub(super) fn close(&self) {
        self.keeper.close();
    }
}
