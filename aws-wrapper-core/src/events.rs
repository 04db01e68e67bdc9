//! What happens to the clusters, as a stream that anybody may listen to.

use std::time::Duration;

use tokio::sync::broadcast;

use crate::error::FailoverOutcome;
use crate::host::HostKey;

/// Something that happened to a cluster, a host or a task. Subscribe with
/// [`Services::subscribe`](crate::services::Services::subscribe).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A new topology was published: hosts, roles or availability differ from the last one.
    TopologyChanged {
        /// The cluster.
        cluster: String,
        /// The version of the new snapshot.
        version: u64,
    },
    /// Another host was proved to be the writer.
    WriterChanged {
        /// The cluster.
        cluster: String,
        /// The writer before, if one was known.
        from: Option<HostKey>,
        /// The writer now.
        to: HostKey,
    },
    /// A connection was lost and the search for another one begins.
    FailoverStarted {
        /// The host of the lost connection.
        host: HostKey,
    },
    /// A failover is over.
    FailoverFinished {
        /// The host of the lost connection.
        host: HostKey,
        /// The host of the new connection, if there is one.
        new_host: Option<HostKey>,
        /// How it ended.
        outcome: FailoverOutcome,
        /// From the error to the end.
        elapsed: Duration,
        /// How long it took to learn which host to use.
        search: Duration,
        /// How many connections were tried.
        attempts: u32,
    },
    /// A host that was marked down is up.
    HostUp {
        /// The host.
        host: HostKey,
    },
    /// A host could not be reached.
    HostDown {
        /// The host.
        host: HostKey,
    },
    /// A host was found dead by its monitor.
    HostUnhealthy {
        /// The host.
        host: HostKey,
        /// How long the call that waited longest had been without an answer.
        silent_for: Duration,
    },
    /// Connections were ended because their host is dead, or was started again behind their back.
    ConnectionsAborted {
        /// The host.
        host: HostKey,
        /// How many.
        count: u64,
    },
    /// A background task ended by a panic or an error and was started again.
    TaskRestarted {
        /// Its name.
        task: String,
        /// How often that has happened.
        restarts: u64,
    },
}

/// Events kept for a subscriber that does not keep up; older ones are lost and counted by the receiver.
const CAPACITY: usize = 256;

#[derive(Debug)]
pub(crate) struct Events(broadcast::Sender<Event>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }

    /// Nobody listening is normal.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
