//! What is known about one physical connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::mark::{InFlight, Mark, Pulse};
use super::role_epoch::RoleEpoch;
use super::session_use::SessionUse;
use super::{EndReason, Ending, Identity, Purpose, Registry, TransactionFailure};
use crate::error::DriverClass;
use crate::host::HostKey;
use crate::session::SessionChange;
use crate::session::transaction::TransactionState;

/// What is known about one physical connection.
pub struct Slot {
    mark: Mark,
    id: u64,
    host: HostKey,
    /// Whether it is (still) one of the wrapper's own, and if not, what it was opened for.
    purpose: AtomicU8,
    opened_at: Instant,
    rare: Mutex<Rare>,
    /// The address that was dialled in the end.
    peer: OnceLock<SocketAddr>,
    /// Low byte: status of the last ReadyForQuery, 0 = not known now. Second byte: the last status that was known.
    /// Upper half: counts the times the server said it is ready.
    status: AtomicU32,
    /// What was sent to end the transaction and may not have been answered yet.
    ending: AtomicU8,
    /// How the server answered what was sent last to end a transaction; 0 before that.
    answered_ending: AtomicU8,
    /// Whether it took the place of a connection that a call has ended: then the next ones are looked at.
    follows_a_loss: AtomicBool,
    session: SessionUse,
    ready: Notify,
    /// How many wait for `ready`. Nobody does while all goes well, and telling nobody costs a lock.
    waiting: AtomicU32,
    identity: OnceLock<Identity>,
    /// Boxed, as it comes once in a life and there are thousands of connections.
    end_reason: OnceLock<Box<EndReason>>,
    ended: AtomicBool,
    end: Notify,
    abort: OnceLock<Box<dyn Fn() + Send + Sync>>,
    registry: Weak<Registry>,
}

/// What is looked at when something has happened, behind one lock: there are thousands of connections.
struct Rare {
    /// When it was opened, or proved to lead to the writer, in the history of writers.
    epoch: RoleEpoch,
    /// The cluster whose change of the writer it follows. The first one stands.
    tracked_in: Option<Arc<str>>,
    /// Why the last transaction failed. Boxed: most never do.
    failure: Option<Box<TransactionFailure>>,
}

const STATUS: u32 = 0xff;
const KNOWN_SHIFT: u32 = 8;
const COUNT_SHIFT: u32 = 16;

/// Whether a connection can be given to the next user. Told by a few loads, without a question to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fitness {
    /// It can.
    Fit,
    /// Its host was found dead, or another connection to it was lost, and this one has not been answered since: ask it
    /// first, or drop it.
    Suspect,
    /// It cannot.
    Unfit(Unfit),
}

/// Why a connection cannot be given to the next user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unfit {
    /// It is gone.
    Ended,
    /// It was given up because its host is dead.
    Aborted,
    /// Its host was the writer after it was opened and is not any more.
    Demoted,
    /// A call on it was dropped before it was answered: the next one would wait for that answer.
    CallDropped,
}

impl Slot {
    pub(super) fn new(registry: &Arc<Registry>, id: u64, host: HostKey, purpose: Purpose) -> Self {
        Self {
            mark: Mark::new(),
            id,
            host,
            purpose: AtomicU8::new(purpose as u8),
            opened_at: Instant::now(),
            rare: Mutex::new(Rare { epoch: registry.role_epochs.now(), tracked_in: None, failure: None }),
            peer: OnceLock::new(),
            status: AtomicU32::new(0),
            ending: AtomicU8::new(0),
            answered_ending: AtomicU8::new(0),
            follows_a_loss: AtomicBool::new(false),
            session: SessionUse::new(),
            ready: Notify::new(),
            waiting: AtomicU32::new(0),
            identity: OnceLock::new(),
            end_reason: OnceLock::new(),
            ended: AtomicBool::new(false),
            end: Notify::new(),
            abort: OnceLock::new(),
            registry: Arc::downgrade(registry),
        }
    }

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

    /// The address it was opened to, if it is one of the network.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer.get().copied()
    }

    /// The address that answered. Called once, by the adapter.
    pub fn set_peer(&self, peer: SocketAddr) {
        let _ = self.peer.set(peer);
    }

    /// From now on it is known whether a call is in flight ([`is_busy`](Self::is_busy)), and whether one was dropped.
    pub fn mark_calls(&self) {
        self.mark.start();
    }

    /// As [`mark_calls`](Self::mark_calls), by a clock that tells the time.
    pub(crate) fn mark_calls_by(&self, pulse: &Arc<Pulse>) {
        self.mark.start_by(pulse);
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// A call begins on this connection. For adapters; around every exchange of the application.
    #[inline]
    pub fn enter(&self) -> InFlight<&Self> {
        InFlight::new(self)
    }

    /// As [`enter`](Self::enter), for a call whose result outlives it.
    pub fn enter_shared(self: &Arc<Self>) -> InFlight<Arc<Self>> {
        InFlight::new(Arc::clone(self))
    }

    /// Whether a call is in flight. Known only where calls are marked.
    pub fn is_busy(&self) -> bool {
        self.mark.word().is_busy()
    }

    /// Whether the connection can be given to the next user.
    pub fn fitness(&self) -> Fitness {
        let word = self.mark.word();
        if word.is_retired() {
            Fitness::Unfit(Unfit::Demoted)
        } else if word.is_aborted() {
            Fitness::Unfit(Unfit::Aborted)
        } else if self.has_ended() {
            Fitness::Unfit(Unfit::Ended)
        } else if word.lost_a_call() {
            Fitness::Unfit(Unfit::CallDropped)
        } else if word.is_suspect() {
            Fitness::Suspect
        } else {
            Fitness::Fit
        }
    }

    /// The moment in the history of writers in which it was opened, or proved to lead to the writer.
    pub fn epoch(&self) -> RoleEpoch {
        self.rare.lock().epoch
    }

    /// It was just proved to lead to the writer, whatever its host was when it was opened.
    pub(crate) fn leads_to_the_writer(&self) {
        if let Some(registry) = self.registry.upgrade() {
            self.rare.lock().epoch = registry.role_epochs.now();
        }
    }

    pub(super) fn track_in(&self, cluster: &Arc<str>) {
        self.rare.lock().tracked_in.get_or_insert_with(|| Arc::clone(cluster));
    }

    pub(super) fn is_tracked_in(&self, cluster: &str) -> bool {
        self.rare.lock().tracked_in.as_ref().is_some_and(|tracked| **tracked == *cluster)
    }

    /// Its host is not the writer any more: ends it now if nobody uses it, else as soon as its call is over and no
    /// transaction is open. False if that was known before.
    pub(super) fn retire(&self) -> bool {
        let is_news = !self.mark.word().is_retired();
        self.mark.retire();
        self.end_if_retired();
        is_news
    }

    /// A call on a retired connection is over.
    #[cold]
    pub(super) fn end_if_retired(&self) {
        let word = self.mark.word();
        // After an error the state is not known until the server is ready again: a transaction that was open may still be.
        let state = match self.transaction() {
            TransactionState::Unknown => self.last_known_transaction(),
            known => known,
        };
        let is_between = matches!(state, TransactionState::InTransaction | TransactionState::Failed);
        if word.is_retired() && !word.is_busy() && !is_between && self.mark.abort(word) {
            self.abort(EndReason::aborted("its host is not the writer any more"));
        }
    }

    /// The server is ready for the next command, in this state. Only the task that reads the connection calls this.
    pub fn set_ready(&self, state: TransactionState) {
        let byte = state_to_byte(state);
        if state == TransactionState::Idle && self.ending.load(Ordering::Relaxed) != 0 {
            self.ending.store(0, Ordering::Relaxed);
        }
        let before = self.status.load(Ordering::Relaxed);
        let count = (before >> COUNT_SHIFT).wrapping_add(1);
        // In one order with what a waiter does, so that either it sees the state or it is seen here.
        self.status.swap(count << COUNT_SHIFT | byte << KNOWN_SHIFT | byte, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.ready.notify_waiters();
        }
        // The call that failed may be over already, and could not tell that its transaction is.
        if before & STATUS == 0 && state == TransactionState::Idle {
            self.end_if_retired();
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
        byte_to_ending(self.ending.load(Ordering::Relaxed))
    }

    /// How the server answered a command that ends a transaction: a commit may be answered by a rollback. For adapters, as
    /// the answer comes.
    pub fn set_answered_ending(&self, answer: Ending) {
        self.answered_ending.store(answer as u8, Ordering::Release);
    }

    /// How the server answered what was sent last to end a transaction; `None` before the first.
    pub fn answered_ending(&self) -> Option<Ending> {
        byte_to_ending(self.answered_ending.load(Ordering::Acquire))
    }

    /// The open transaction has failed: kept for the commit that the server will refuse. For adapters.
    pub fn set_failure(&self, failure: TransactionFailure) {
        self.rare.lock().failure = Some(Box::new(failure));
    }

    /// Why the last transaction failed, once.
    pub fn take_failure(&self) -> Option<TransactionFailure> {
        self.rare.lock().failure.take().map(|failure| *failure)
    }

    /// As it is now the session is clean: what is done to it from now on is noted. For pools.
    pub fn session_is_clean(&self) {
        self.session.clean();
    }

    /// What was done to the session since it was clean. Known only where a pool has asked for it.
    pub fn session_change(&self) -> SessionChange {
        self.session.change()
    }

    /// Something is done to the session. For adapters, where no text tells.
    pub fn note_session_change(&self, change: SessionChange) {
        self.session.note(change);
    }

    #[inline]
    pub(crate) fn watches_session(&self) -> bool {
        self.session.is_watched()
    }

    /// It takes the place of a connection that was lost.
    pub(crate) fn follow_a_loss(&self) {
        self.follows_a_loss.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn follows_a_loss(&self) -> bool {
        self.follows_a_loss.load(Ordering::Relaxed)
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
        self.end_reason.get().map(Box::as_ref)
    }

    /// Records why the connection is about to end, before those who wait on it are woken. When it was lost, those beside it
    /// that nobody uses are suspected.
    pub fn record_end(&self, reason: EndReason) {
        let is_of_the_server = matches!(reason.class, DriverClass::Network | DriverClass::SessionTerminated);
        let is_lost = is_of_the_server && !reason.is_local;
        let is_news = self.end_reason.set(Box::new(reason)).is_ok();
        if let Some(registry) = self.registry.upgrade().filter(|_| is_news && is_lost) {
            registry.suspect_those_beside(self);
        }
    }

    /// Whether both lead to the same server.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        match (self.peer(), other.peer()) {
            (Some(one), Some(other)) => one == other,
            _ => self.host == other.host,
        }
    }

    /// The connection's task is over and its socket closed.
    pub fn mark_ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.mark.end(self.id);
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
        self.mark.end(self.id);
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

/// As [`Ending`] numbers them; 0 for none.
fn byte_to_ending(byte: u8) -> Option<Ending> {
    match byte {
        0 => None,
        1 => Some(Ending::Rollback),
        _ => Some(Ending::Commit),
    }
}

fn byte_to_state(byte: u32) -> TransactionState {
    match u8::try_from(byte).unwrap_or(0) {
        b'I' => TransactionState::Idle,
        b'T' => TransactionState::InTransaction,
        b'E' => TransactionState::Failed,
        _ => TransactionState::Unknown,
    }
}
