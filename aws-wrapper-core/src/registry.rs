//! The registry of physical connections: a slot each.
//!
//! The slot outlives the connection's owner and its task, so each can leave word for the other: the protocol's
//! transaction status, why the connection ended, and the means to end it without its cooperation.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::error::DriverClass;
use crate::host::{HostKey, Role};
use crate::session::transaction::TransactionState;

/// Why a connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// The first connection behind a logical connection.
    Initial,
    /// A replacement for a connection that was lost or whose role no longer fits.
    Switch,
    /// A connection of the wrapper's own, such as the topology monitor's. Only plugins that ask for it see these.
    Monitoring,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Initial, Self::Switch, Self::Monitoring];
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
}

impl EndReason {
    /// The driver or the server ended it.
    pub fn new(class: DriverClass, sqlstate: Option<String>, message: impl Into<String>) -> Self {
        Self { class, sqlstate, message: message.into(), aborted: false }
    }

    /// The wrapper gave it up; `message` says why.
    pub fn aborted(message: impl Into<String>) -> Self {
        Self { class: DriverClass::Network, sqlstate: None, message: message.into(), aborted: true }
    }
}

/// What is known about one physical connection.
pub struct Slot {
    id: u64,
    host: HostKey,
    /// Whether it is (still) one of the wrapper's own, and if not, what it was opened for.
    purpose: AtomicU8,
    opened_at: Instant,
    /// Low byte: status of the last ReadyForQuery, 0 = not known now. Second byte: the last status that was known.
    /// Upper half: counts the times the server said it is ready.
    status: AtomicU32,
    /// What was sent to end the transaction and may not have been answered yet.
    ending: AtomicU8,
    ready: Notify,
    /// How many wait for `ready`. Nobody does while all goes well, and telling nobody costs a lock.
    waiting: AtomicU32,
    identity: OnceLock<Identity>,
    end_reason: OnceLock<EndReason>,
    ended: AtomicBool,
    end: Notify,
    abort: OnceLock<Box<dyn Fn() + Send + Sync>>,
    registry: Weak<Registry>,
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

const STATUS: u32 = 0xff;
const KNOWN_SHIFT: u32 = 8;
const COUNT_SHIFT: u32 = 16;

impl Slot {
    /// Unique among the connections of one `Services`; never 0. Serves as the epoch of a logical connection.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The host that was dialled.
    pub fn host(&self) -> &HostKey {
        &self.host
    }

    /// The instance behind it, if known, else the host that was dialled.
    pub fn routed_host(&self) -> &HostKey {
        self.identity.get().and_then(|identity| identity.routed.as_ref()).unwrap_or(&self.host)
    }

    /// Which instance the server says it is, if it was asked.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// Records who the server is. It cannot change during the life of a connection; the first word stands.
    pub fn identify(&self, identity: Identity) {
        let _ = self.identity.set(identity);
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        Purpose::ALL[usize::from(self.purpose.load(Ordering::Relaxed))]
    }

    /// It is used for something else from now on.
    pub(crate) fn serves(&self, purpose: Purpose) {
        self.purpose.store(purpose as u8, Ordering::Relaxed);
    }

    /// How long ago it was opened.
    pub fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// The server is ready for the next command, in this state. Only the task that reads the connection calls this.
    pub fn set_ready(&self, state: TransactionState) {
        let byte = state_to_byte(state);
        if state == TransactionState::Idle && self.ending.load(Ordering::Relaxed) != 0 {
            self.ending.store(0, Ordering::Relaxed);
        }
        let count = (self.status.load(Ordering::Relaxed) >> COUNT_SHIFT).wrapping_add(1);
        // In one order with what a waiter does, so that either it sees the state or it is seen here.
        self.status.swap(count << COUNT_SHIFT | byte << KNOWN_SHIFT | byte, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.ready.notify_waiters();
        }
    }

    /// Everything that was sent has been answered, and this is the state now. For drivers with one call at a time; most
    /// calls change nothing, and then this is two loads.
    #[inline]
    pub fn set_answered(&self, state: TransactionState) {
        if self.ending.load(Ordering::Relaxed) != 0 {
            self.ending.store(0, Ordering::Relaxed);
        }
        if self.transaction() != state {
            self.set_ready(state);
        }
    }

    /// The server reported an error; its state is not known until it is ready again. Only the reading task calls this.
    pub fn set_unknown(&self) {
        let word = self.status.load(Ordering::Relaxed);
        self.status.store(word & !STATUS, Ordering::Release);
    }

    /// The transaction state as the protocol last told it.
    pub fn transaction(&self) -> TransactionState {
        byte_to_state(self.status.load(Ordering::Acquire) & STATUS)
    }

    /// The last state that was known. After a loss: `InTransaction` or `Failed` means that work was lost.
    pub fn last_known_transaction(&self) -> TransactionState {
        byte_to_state(self.status.load(Ordering::Acquire) >> KNOWN_SHIFT & STATUS)
    }

    /// Says that a command is about to be sent that ends the transaction. Stands until no transaction is open.
    pub fn set_ending(&self, ending: Ending) {
        self.ending.fetch_max(ending as u8, Ordering::Relaxed);
    }

    /// What was sent to end the transaction, as long as the server has not said that none is open.
    ///
    /// Whoever sent it may have stopped waiting, so the state that was known last does not tell of it.
    pub fn ending(&self) -> Option<Ending> {
        match self.ending.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Ending::Rollback),
            _ => Some(Ending::Commit),
        }
    }

    /// Waits until the state is known after an error, the connection has ended, or `limit` has passed.
    pub async fn settled(&self, limit: Duration) -> TransactionState {
        if self.has_ended() || self.transaction() != TransactionState::Unknown {
            return self.transaction();
        }
        let _waiting = Waiting::new(&self.waiting);
        let known = async {
            loop {
                let ready = self.ready.notified();
                let ended = self.end.notified();
                tokio::pin!(ready, ended);
                ready.as_mut().enable();
                ended.as_mut().enable();
                if self.has_ended() || self.transaction() != TransactionState::Unknown {
                    return;
                }
                tokio::select! { () = ready => {} () = ended => {} }
            }
        };
        let _ = timeout(limit, known).await;
        self.transaction()
    }

    /// Whether the connection is gone.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Why it ended, as far as anybody saw it. The first reason stands.
    pub fn end_reason(&self) -> Option<&EndReason> {
        self.end_reason.get()
    }

    /// Records why the connection is about to end, before those who wait on it are woken.
    pub fn record_end(&self, reason: EndReason) {
        let _ = self.end_reason.set(reason);
    }

    /// The connection's task is over and its socket closed.
    pub fn mark_ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }

    /// Waits until the connection has ended.
    pub async fn wait_ended(&self) {
        loop {
            let ended = self.end.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.has_ended() {
                return;
            }
            ended.await;
        }
    }

    /// Tells how to end the connection without its cooperation. Called once, by the adapter.
    pub fn set_abort(&self, abort: impl Fn() + Send + Sync + 'static) {
        let _ = self.abort.set(Box::new(abort));
    }

    /// Ends the connection at once: closes the socket without a word to the server. Calls in flight fail.
    pub fn abort(&self, reason: EndReason) {
        self.record_end(reason);
        if let Some(abort) = self.abort.get() {
            abort();
        }
    }
}

/// One that waits for a state, for as long as it does.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("id", &self.id)
            .field("host", &self.host)
            .field("purpose", &self.purpose())
            .field("identity", &self.identity.get())
            .field("transaction", &self.transaction())
            .field("ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.slots.lock().remove(&self.id);
        }
    }
}

fn state_to_byte(state: TransactionState) -> u32 {
    u32::from(match state {
        TransactionState::Idle => b'I',
        TransactionState::InTransaction => b'T',
        TransactionState::Failed => b'E',
        _ => 0,
    })
}

fn byte_to_state(byte: u32) -> TransactionState {
    match u8::try_from(byte).unwrap_or(0) {
        b'I' => TransactionState::Idle,
        b'T' => TransactionState::InTransaction,
        b'E' => TransactionState::Failed,
        _ => TransactionState::Unknown,
    }
}

/// Every physical connection of one `Services`.
#[derive(Debug, Default)]
pub struct Registry {
    next: AtomicU64,
    slots: Mutex<HashMap<u64, Weak<Slot>>>,
}

impl Registry {
    /// A slot for a connection that is about to be opened.
    pub fn open(self: &Arc<Self>, host: HostKey, purpose: Purpose) -> Arc<Slot> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let slot = Arc::new(Slot {
            id,
            host,
            purpose: AtomicU8::new(purpose as u8),
            opened_at: Instant::now(),
            status: AtomicU32::new(0),
            ending: AtomicU8::new(0),
            ready: Notify::new(),
            waiting: AtomicU32::new(0),
            identity: OnceLock::new(),
            end_reason: OnceLock::new(),
            ended: AtomicBool::new(false),
            end: Notify::new(),
            abort: OnceLock::new(),
            registry: Arc::downgrade(self),
        });
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_dropped_slot_leaves_the_registry() {
        let registry = Arc::new(Registry::default());
        let slot = registry.open(HostKey::new("h", 1).unwrap(), Purpose::Monitoring);
        assert_eq!(registry.slots().len(), 1);
        drop(slot);
        assert!(registry.slots.lock().is_empty());
    }
}
