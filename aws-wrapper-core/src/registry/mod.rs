//! The registry of physical connections: a slot each.
//!
//! The slot outlives the connection's owner and its task, so each can leave word for the other: the protocol's
//! transaction status, why the connection ended, and the means to end it without its cooperation.

mod failure;
mod mark;
mod role_epoch;
mod session_use;
mod slot;
mod word;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::failure::TransactionFailure;
pub use self::mark::InFlight;
pub(crate) use self::mark::{Pulse, Watcher};
pub use self::role_epoch::RoleEpoch;
pub(crate) use self::role_epoch::RoleEpochs;
pub use self::slot::{Fitness, Slot, Unfit};
pub(crate) use self::word::{Stamp, Word};
use crate::error::DriverClass;
use crate::host::{Host, HostKey, Role};

/// What [`word`] is made of; its model has others.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

/// Why a connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// The first connection behind a logical connection.
    Initial,
    /// A replacement for a connection that was lost or whose role no longer fits.
    Switch,
    /// A connection of the wrapper's own, for the topology of a cluster. Only plugins that ask for it see these.
    TopologyMonitor,
    /// A connection of the wrapper's own, for the health of a host. Only plugins that ask for it see these.
    HostMonitor,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Initial, Self::Switch, Self::TopologyMonitor, Self::HostMonitor];

    /// Whether the connection is the wrapper's own.
    pub fn is_monitoring(self) -> bool {
        matches!(self, Self::TopologyMonitor | Self::HostMonitor)
    }

    /// The word for it in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Switch => "switch",
            Self::TopologyMonitor => "topology_monitor",
            Self::HostMonitor => "host_monitor",
        }
    }
}

/// How a transaction is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Its effect is dropped.
    Rollback = 1,
    /// Its effect is kept.
    Commit = 2,
}

/// Why a physical connection ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EndReason {
    /// What it means for the host.
    pub class: DriverClass,
    /// The server's code, if it said why.
    pub sqlstate: Option<String>,
    /// For people.
    pub message: String,
    /// Whether the wrapper itself gave the connection up.
    pub aborted: bool,
    /// Whether what was done on this side ended it: then it says nothing of the server and of the connections beside it.
    pub is_local: bool,
}

impl EndReason {
    /// The driver or the server ended it.
    pub fn new(class: DriverClass, sqlstate: Option<String>, message: impl Into<String>) -> Self {
        Self { class, sqlstate, message: message.into(), aborted: false, is_local: false }
    }

    /// What was done on this side ended it, such as a call that was dropped half way; the server is fine.
    pub fn local(message: impl Into<String>) -> Self {
        Self { is_local: true, ..Self::new(DriverClass::SessionTerminated, None, message) }
    }

    /// The wrapper gave it up; `message` says why.
    pub fn aborted(message: impl Into<String>) -> Self {
        Self {
            class: DriverClass::Network,
            sqlstate: None,
            message: message.into(),
            aborted: true,
            is_local: true,
        }
    }
}

/// Which instance a connection really reached, asked from the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Identity {
    /// The instance's own name for itself.
    pub host_id: String,
    /// Its role when asked.
    pub role: Role,
    /// The host of the topology it is, when that is known.
    pub routed: Option<HostKey>,
}

impl Identity {
    /// An identity as the server told it.
    pub fn new(host_id: impl Into<String>, role: Role, routed: Option<HostKey>) -> Self {
        Self { host_id: host_id.into(), role, routed }
    }
}

/// Every physical connection of one `Services`.
#[derive(Debug, Default)]
pub struct Registry {
    next: AtomicU64,
    slots: Mutex<HashMap<u64, Weak<Slot>>>,
    role_epochs: RoleEpochs,
    /// When those beside a lost connection were last suspected, and by which host.
    suspected: Mutex<Option<(HostKey, Instant)>>,
}

/// Hundreds of connections are lost at the same moment: it is enough to look through the list so often.
const SUSPECTED_FOR: Duration = Duration::from_millis(50);

impl Registry {
    /// A slot for a connection that is about to be opened.
    pub fn open(self: &Arc<Self>, host: HostKey, purpose: Purpose) -> Arc<Slot> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let slot = Arc::new(Slot::new(self, id, host, purpose));
        self.slots.lock().insert(id, Arc::downgrade(&slot));
        slot
    }

    /// The connections that are alive now, in no order.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        // Not under the lock: the last handle on a slot takes it off the list when it is dropped.
        let mut slots: Vec<_> = self.slots.lock().values().filter_map(Weak::upgrade).collect();
        slots.retain(|slot| !slot.has_ended());
        slots
    }

    /// A connection was lost: those to the same server that nobody uses may be lost, too, and not know it yet.
    fn suspect_those_beside(&self, lost: &Slot) {
        let now = Instant::now();
        {
            let mut suspected = self.suspected.lock();
            let is_recent = |(host, at): &(HostKey, Instant)| {
                host == lost.host() && now.duration_since(*at) < SUSPECTED_FOR
            };
            if suspected.as_ref().is_some_and(is_recent) {
                return;
            }
            *suspected = Some((lost.host().clone(), now));
        }
        for slot in self.slots().iter().filter(|slot| slot.is_beside(lost) && !slot.is_busy()) {
            slot.mark().suspect();
        }
    }

    /// From now on the connection of `slot` is given up when `host`, the instance of `cluster` it reached, is not the
    /// writer any more. True if that happened while it was being opened, and nobody has noticed yet.
    pub(crate) fn track(&self, slot: &Slot, cluster: &Arc<str>, host: &HostKey) -> bool {
        slot.mark_calls();
        slot.track_in(cluster);
        // Who looks through the list comes before or after: one of the two sees the other.
        self.role_epochs.was_demoted(host, slot.epoch()) && slot.retire()
    }

    /// `host` was the writer of `cluster` and is not any more. Connections to it that nobody uses end now, the others after
    /// their call. How many there are.
    pub(crate) fn demote(&self, cluster: &str, host: &Host) -> usize {
        self.role_epochs.demote(&host.key);
        let is_there = |slot: &&Arc<Slot>| {
            let by_name = *slot.routed_host() == host.key;
            let id = slot.identity().map(|identity| identity.host_id.as_str());
            slot.is_tracked_in(cluster) && (by_name || id.is_some() && id == host.host_id.as_deref())
        };
        let slots = self.slots();
        slots.iter().filter(is_there).filter(|slot| slot.retire()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::transaction::TransactionState;

    fn slot() -> Arc<Slot> {
        let registry = Arc::new(Registry::default());
        registry.open(HostKey::new("h", 1).unwrap(), Purpose::Initial)
    }

    #[test]
    fn an_error_hides_the_state_but_not_what_was_known_before() {
        let slot = slot();
        assert_eq!(slot.transaction(), TransactionState::Unknown);
        slot.set_ready(TransactionState::InTransaction);
        slot.set_unknown();
        assert_eq!(slot.transaction(), TransactionState::Unknown);
        assert_eq!(slot.last_known_transaction(), TransactionState::InTransaction);
        slot.set_ready(TransactionState::Idle);
        assert_eq!(slot.transaction(), TransactionState::Idle);
    }

    /// A slot whose connection tells when it is given up.
    fn marked() -> (Arc<Slot>, Arc<std::sync::atomic::AtomicBool>) {
        let (slot, is_over) = (slot(), Arc::<std::sync::atomic::AtomicBool>::default());
        slot.mark_calls();
        let tell = Arc::clone(&is_over);
        slot.set_abort(move || tell.store(true, Ordering::SeqCst));
        (slot, is_over)
    }

    #[test]
    fn a_retired_connection_keeps_its_transaction_after_an_error() {
        let (slot, is_over) = marked();
        slot.set_ready(TransactionState::InTransaction);
        let call = slot.enter();
        slot.retire();
        slot.set_unknown();
        call.answered();
        assert!(!is_over.load(Ordering::SeqCst), "a savepoint may save it");
        slot.set_ready(TransactionState::Failed);
        slot.enter().answered();
        assert!(!is_over.load(Ordering::SeqCst));
        let rollback = slot.enter();
        slot.set_ready(TransactionState::Idle);
        rollback.answered();
        assert!(is_over.load(Ordering::SeqCst));
    }

    #[test]
    fn a_retired_connection_ends_with_a_transaction_that_an_error_has_ended() {
        let (slot, is_over) = marked();
        slot.set_ready(TransactionState::InTransaction);
        let commit = slot.enter();
        slot.retire();
        slot.set_unknown();
        commit.answered();
        slot.set_ready(TransactionState::Idle);
        assert!(is_over.load(Ordering::SeqCst));
    }

    #[test]
    fn a_lost_connection_makes_those_beside_it_suspect_until_they_are_answered() {
        let registry = Arc::new(Registry::default());
        let open = |host: &str| {
            let slot = registry.open(HostKey::new(host, 1).unwrap(), Purpose::Initial);
            slot.mark_calls();
            slot
        };
        let (lost, idle, busy, elsewhere) = (open("h"), open("h"), open("h"), open("other"));
        let call = busy.enter();
        lost.record_end(EndReason::new(DriverClass::Network, None, "connection reset"));
        assert_eq!(idle.fitness(), Fitness::Suspect);
        assert_eq!((busy.fitness(), elsewhere.fitness()), (Fitness::Fit, Fitness::Fit));
        call.answered();
        idle.enter().answered();
        assert_eq!(idle.fitness(), Fitness::Fit);

        // The server ends sessions one after the other.
        let (ended, next) = (open("third"), open("third"));
        ended.record_end(EndReason::new(DriverClass::SessionTerminated, None, "too long idle"));
        assert_eq!(next.fitness(), Fitness::Suspect);

        let closed = open("other");
        closed.record_end(EndReason::new(DriverClass::Other, None, "closed by the client"));
        open("other").record_end(EndReason::local("a call was dropped"));
        open("other").record_end(EndReason::aborted("given up"));
        assert_eq!(elsewhere.fitness(), Fitness::Fit, "these say nothing of the server");
    }

    #[test]
    fn the_first_end_reason_stands() {
        let slot = slot();
        slot.record_end(EndReason::aborted("first"));
        slot.record_end(EndReason::aborted("second"));
        assert_eq!(slot.end_reason().unwrap().message, "first");
    }

    #[tokio::test]
    async fn waiting_for_the_end_and_for_the_state_wakes_up() {
        let slot = slot();
        let waiting = {
            let slot = Arc::clone(&slot);
            async move { slot.wait_ended().await }
        };
        let settled = slot.settled(Duration::from_secs(60));
        let act = async {
            tokio::task::yield_now().await;
            slot.mark_ended();
        };
        let ((), state, ()) = tokio::join!(waiting, settled, act);
        assert_eq!(state, TransactionState::Unknown);
    }

    #[test]
    fn slots_that_end_while_they_are_listed_do_no_harm() {
        let registry = Arc::new(Registry::default());
        let (done, is_done) = std::sync::mpsc::channel();
        for lists in [false, true] {
            let (registry, done) = (Arc::clone(&registry), done.clone());
            std::thread::spawn(move || {
                for _ in 0..100_000 {
                    if lists {
                        registry.slots();
                    } else {
                        let slots =
                            [0; 8].map(|_| registry.open(HostKey::new("h", 1).unwrap(), Purpose::Initial));
                        for slot in slots {
                            slot.mark_ended();
                        }
                    }
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..2 {
            is_done.recv_timeout(Duration::from_secs(60)).expect("nobody waits for ever");
        }
    }

    #[test]
    fn a_connection_proved_at_the_writer_is_not_of_the_time_before() {
        for is_proved in [false, true] {
            let registry = Arc::new(Registry::default());
            let (cluster, host) = (Arc::from("c"), HostKey::new("h", 1).unwrap());
            let slot = registry.open(host.clone(), Purpose::TopologyMonitor);
            // The host loses its role and gets it back; then a monitor's connection becomes a session's.
            registry.demote("c", &Host::new(host.clone(), Role::Writer));
            if is_proved {
                slot.leads_to_the_writer();
            }
            registry.track(&slot, &cluster, &host);
            assert_eq!(slot.fitness() == Fitness::Fit, is_proved);
        }
    }

    #[test]
    fn a_dropped_slot_leaves_the_registry() {
        let registry = Arc::new(Registry::default());
        let slot = registry.open(HostKey::new("h", 1).unwrap(), Purpose::TopologyMonitor);
        assert_eq!(registry.slots().len(), 1);
        drop(slot);
        assert!(registry.slots.lock().is_empty());
    }
}
